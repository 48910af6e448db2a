"""The page on which augmentations can be seen and heard."""

import base64
import io
import re
import zlib

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.tools import gallery
from consomme.train.augment import TABLE

CONFIG = """
corpora:
  a: {source: generated, generator: spoken-numbers, domain: clean, size: 20}
experiments:
  e:
    task: asr
    languages: [en]
    data: {train: a, dev: a}
    models:
      raw: {from: {scratch: {family: ctc}}}
      one: {train: raw, max_steps: 3, augment: {spec_augment: SM, speed: [0.9]}}
      two: {train: raw, max_steps: 3, augment: {spec_augment: SM, speed: [1.1]}}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    place = tmp_path_factory.mktemp("gallery") / "page.html"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gallery, "SENTENCES", 200)
        gallery.write(place)
    return place.read_text(encoding="utf-8")


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>(?:<code>(.*?)</code>)?", text)


def test_every_augmentation_is_there_and_nothing_is_fetched(page):
    assert set(TABLE) == {name for name, _ in headings(page)} - {"speech", "sentences"} == set(gallery.WHAT)
    assert not re.search(r"https?://|<script|<link", page)


def test_sounds_are_what_their_captions_say(page):
    heard = re.findall(r'src="data:audio/wav;base64,([^"]+)".*?<figcaption>(.*?) · ([\d.]+) s', page, re.DOTALL)
    whole = []
    for sound, _, seconds in heard:
        wave, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
        assert rate == 16000 and len(wave) / rate == pytest.approx(float(seconds), abs=0.02)
        whole.append(len(wave) / rate)
    plain, joined, slow, fast = (np.array(whole[i : i + 3]) for i in (0, 3, 6, 9))
    np.testing.assert_allclose(slow, plain / 0.85, rtol=0.01)
    np.testing.assert_allclose(fast, plain / 1.15, rtol=0.01)
    assert (joined > plain + 1).all()


def test_pictures_have_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    file = gallery.png(pixels)
    chunks, at = {}, 8
    while at < len(file):
        size = int.from_bytes(file[at : at + 4], "big")
        chunks[file[at + 4 : at + 8]] = file[at + 8 : at + 8 + size]
        assert int.from_bytes(file[at + 8 + size : at + 12 + size], "big") == zlib.crc32(file[at + 4 : at + 8 + size])
        at += 12 + size
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 8)
    assert np.array_equal(lines[:, 1:], pixels) and not lines[:, 0].any()
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3).astype(int)
    assert (np.diff(palette @ [299, 587, 114]) >= 0).all()  # brighter is louder


def test_a_configuration_shows_its_own_settings(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    for name in ("one", "two"):
        gallery.write(tmp_path / name, [tmp_path / "c.yaml"])
    page = (tmp_path / "one").read_text(encoding="utf-8")
    assert page == (tmp_path / "two").read_text(encoding="utf-8")
    shown = headings(page)
    assert [name for name, _ in shown] == ["speech", "speed", "spec_augment", "speed"]
    assert shown[1][1] == "[0.9]" and shown[3][1] == "[1.1]" and "time_warp: 40" in shown[2][1]
    (tmp_path / "d.yaml").write_text(re.sub(r", augment: {.*}}", "}", CONFIG), encoding="utf-8")
    with pytest.raises(ConsommeError, match="no model of this configuration has an `augment`"):
        gallery.write(tmp_path / "none", [tmp_path / "d.yaml"])


def test_rows_without_a_sound_are_passed_over(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1, dtype=np.float32), 16000)
    (tmp_path / "m.tsv").write_text("audio\ttext\n\tsilent\na.wav\theard\n", encoding="utf-8")
    corpus = f"a: {{source: manifest, path: {tmp_path / 'm.tsv'}}}"
    config = re.sub(r"a: \{.*\}", lambda _: corpus, CONFIG, count=1)
    (tmp_path / "c.yaml").write_text(config, encoding="utf-8")
    shown, _, _ = gallery.configured([tmp_path / "c.yaml"])
    assert [utterance.text for utterance in gallery.utterances(shown[0])] == ["heard"]
