"""Recordings through a model that says how long each piece is: order, batches, channels, interruptions."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.transcribe import main
from consomme.transcribe.hear import Hearer
from consomme.transcribe.recordings import recordings
from consomme.transcribe.through import through
from consomme.transcribe.written import Said

RATE = 8000


class Counting(Hearer):
    """Says for each piece its tenths of a second. heard: the numbers of pieces of each call."""

    def __init__(self, most=4.0, alone=4.0, batch=3, stop_after=None, words=False):
        self.processor = SimpleNamespace(feature_extractor=SimpleNamespace(sampling_rate=RATE))
        self.most, self.alone, self.batch = most, alone, batch
        self.heard, self.stop_after, self.words = [], stop_after, words

    def check(self, wave):
        pass

    def hypotheses(self, waves):
        raise NotImplementedError

    def hear(self, waves):
        if self.stop_after is not None and len(self.heard) == self.stop_after:
            raise KeyboardInterrupt
        self.heard.append(len(waves))
        return [[self.said(len(wave) / RATE)] for wave in waves]

    def said(self, seconds):
        text = str(round(10 * seconds))
        return Said(0.0, seconds, text, words=[Said(0.0, 0.5, text)] if self.words else None)


def clip(path, *seconds, channels=1):
    """Speech of so many seconds, negative ones are silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(seconds))
    parts = [(0.3 if s > 0 else 0.0005) * random.standard_normal(int(abs(s) * RATE)) for s in seconds]
    wave = np.concatenate(parts)
    soundfile.write(path, np.stack([wave * (i + 1) / channels for i in range(channels)], 1), RATE)
    return path


def texts(found):
    return [(one.path.name, " ".join(s.text for s in said), problem) for one, said, problem in found]


def test_short_recordings_share_batches_and_come_in_their_order(tmp_path):
    hearer = Counting()
    paths = [clip(tmp_path / f"{i}.wav", 0.5 + i / 10) for i in range(7)]
    torn = tmp_path / "torn.wav"
    torn.write_bytes(b"RIFF")
    found, _ = recordings([*paths[:3], torn, *paths[3:]])
    said = texts(through(hearer, found, "mean", None))
    assert [name for name, _, _ in said] == ["0.wav", "1.wav", "2.wav", "torn.wav", *(f"{i}.wav" for i in range(3, 7))]
    assert [text for _, text, _ in said] == ["5", "6", "7", "", "8", "9", "10", "11"]
    assert [bool(problem) for *_, problem in said] == [False] * 3 + [True] + [False] * 4
    assert hearer.heard == [3, 3, 1]


def test_a_long_recording_is_heard_in_pieces_with_its_own_times(tmp_path):
    ((_recording, said, _),) = through(
        Counting(), recordings([clip(tmp_path / "a.wav", 3, -2, 3, -2, 2)])[0], "mean", None
    )
    assert len(said) == 3 and said[0].start == 0
    assert said[1].start == pytest.approx(4.8, abs=0.05) and said[2].end == pytest.approx(12, abs=0.05)


def test_pieces_that_are_heard_alone_are(tmp_path):
    hearer = Counting(most=60.0, alone=4.0)
    paths = [clip(tmp_path / "a.wav", 1), clip(tmp_path / "b.wav", 9), clip(tmp_path / "c.wav", 1)]
    assert [text for _, text, _ in texts(through(hearer, recordings(paths)[0], "mean", None))] == ["10", "90", "10"]
    assert sorted(hearer.heard) == [1, 2] or sorted(hearer.heard) == [1, 1, 1]


@pytest.mark.parametrize("words", [False, True])
def test_an_interrupted_recording_goes_on_where_it_was(tmp_path, words):
    paths, out = [clip(tmp_path / "in/a.wav", *[3, -2] * 5)], tmp_path / "out"
    found, _ = recordings(paths)
    with pytest.raises(KeyboardInterrupt):
        list(through(Counting(batch=1, stop_after=3, words=words), found, "mean", out))
    (part,) = out.iterdir()
    part.write_text(part.read_text() + '{"piece": 3, "start": 1')  # torn while it was written
    hearer = Counting(batch=1, words=words)
    ((_, said, _),) = through(hearer, found, "mean", out)
    assert len(hearer.heard) == 2 and len(said) == 5 and not list(out.iterdir())
    assert said == next(iter(through(Counting(batch=1, words=words), found, "mean", None)))[1]
    assert [[word.start for word in one.words or ()] for one in said] == [[one.start] * words for one in said]


def test_channels_are_mixed_or_each_by_itself(tmp_path):
    found, _ = recordings([clip(tmp_path / "a.wav", 1, channels=2)])
    for channels, wanted in (("mean", [None]), ("first", [None]), ("each", [1, 2])):
        ((_, said, _),) = through(Counting(), found, channels, None)
        assert [one.channel for one in said] == wanted


def test_folders_are_searched_and_other_files_counted(tmp_path):
    clip(tmp_path / "x/b.wav", 1)
    clip(tmp_path / "x/sub/a.FLAC".lower(), 1)
    (tmp_path / "x/notes.txt").write_text("no audio")
    (tmp_path / "x/.hidden.wav").write_bytes(b"")
    found, others = recordings([tmp_path / "x"])
    assert ([str(one.name) for one in found], others) == (["b.wav", "sub/a.flac"], 1)
    clip(tmp_path / "y/b.wav", 1)
    with pytest.raises(ConsommeError, match=r"would both have the transcript b\.wav"):
        recordings([tmp_path / "x", tmp_path / "y"])


def test_formats_are_checked_before_the_model_is_opened(tmp_path, capsys):
    for more, words in (
        (["--format", "doc"], "'doc' given; allowed: txt, srt, vtt, json"),
        (["--format", "srt"], "needs --out"),
        (["--words"], "txt has no times; allowed: json, srt, vtt"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([str(tmp_path / "no-model"), str(tmp_path / "a.wav"), *more])
        assert stopped.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["moonshine", "parakeet_tdt"])
def test_models_without_times_of_words_say_so(folders, tmp_path, capsys, name):
    asked = ["--out", str(tmp_path / "out"), "--format", "json", "--words"]
    with pytest.raises(SystemExit) as stopped:
        main([str(folders(name)), str(clip(tmp_path / "a.wav", 1)), *asked])
    assert (
        stopped.value.code == 2
        and f"{name} doesn't tell when words are said; allowed: ctc, " in capsys.readouterr().err
    )


def test_an_engine_without_times_of_words_says_so(tmp_path, capsys):
    model = tmp_path / "phone"
    (model / "source").mkdir(parents=True)
    (model / "engine.json").write_text('{"format": "ggml"}')
    (model / "source/config.json").write_text('{"model_type": "whisper"}')
    asked = ["--out", str(tmp_path / "out"), "--format", "json", "--words"]
    with pytest.raises(SystemExit) as stopped:
        main([str(model), str(clip(tmp_path / "a.wav", 1)), *asked])
    assert stopped.value.code == 2 and "those for ctranslate2, onnx do" in capsys.readouterr().err
