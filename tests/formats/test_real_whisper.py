"""A published Whisper in the programs that people use, each in a process of its own, with its own defaults, told nothing but
the export's folder. CONSOMME_REAL as in tests/workflow/test_real_whisper.py."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from consomme.evaluate.metrics import metric_named
from consomme.formats import Asked, format_named, start, write

REAL = Path(os.environ.get("CONSOMME_REAL", "../real")).resolve()
CHECKPOINT = REAL / "whisper-tiny.en"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHECKPOINT.is_dir(), reason=f"no whisper-tiny.en in {REAL}")]
CLIPS = 6

PROGRAMS = {
    "ctranslate2": (
        "faster_whisper",
        """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", cpu_threads=1)
for clip in sys.argv[2:]:
    segments, _ = model.transcribe(clip)
    print(" ".join(segment.text.strip() for segment in segments))
""",
    ),
    "ggml": (
        "pywhispercpp",
        """
import sys
import soundfile
from pywhispercpp.model import Model
model = Model(sys.argv[1] + "/ggml-model.bin", redirect_whispercpp_logs_to=None, print_progress=False, n_threads=1)
for clip in sys.argv[2:]:
    wave, rate = soundfile.read(clip, dtype="float32")
    print(" ".join(segment.text.strip() for segment in model.transcribe(wave)))
""",
    ),
    "safetensors": (
        "transformers",
        """
import sys
import soundfile
from transformers import pipeline
hears = pipeline("automatic-speech-recognition", model=sys.argv[1], device="cpu")
for clip in sys.argv[2:]:
    wave, rate = soundfile.read(clip, dtype="float32")  # of a file's name it would want ffmpeg
    print(hears({"raw": wave, "sampling_rate": rate})["text"].strip())
""",
    ),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Recordings of full sentences at 16 kHz, and what is said in them."""
    import soundfile

    from consomme.data.audio import decode, resample

    rows = pd.read_csv(REAL / "prompts/en.tsv", sep="\t", quoting=3)
    rows = rows[rows.text.str.split().str.len() > 5].head(CLIPS)
    folder, paths = tmp_path_factory.mktemp("clips"), []
    for i, audio in enumerate(rows.audio):
        paths.append(folder / f"{i}.wav")
        soundfile.write(paths[-1], resample(*decode(REAL / "prompts" / audio), 16000), 16000)
    return paths, list(rows.text)


def wer(texts, said):
    counted = metric_named("wer").of_rows(texts, said, "basic", ["en"])
    return float(metric_named("wer").value(counted.sum(axis=0)))


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("safetensors", {"quantization": "float16"}),
        ("ctranslate2", {"quantization": "int8"}),
        ("ctranslate2", {}),
        ("ggml", {"quantization": "float16"}),
        ("ggml", {"quantization": "q8_0"}),
    ],
)
def test_it_hears_in_the_program_that_it_is_for(tmp_path, clips, form, settings):
    package, program = PROGRAMS[form]
    if find_spec(package) is None:
        pytest.skip(f"{package} isn't installed")
    paths, texts = clips
    folder = tmp_path / "export"
    folder.mkdir()
    write(format_named(form), CHECKPOINT, folder, settings, tmp_path)
    asked = [sys.executable, "-c", program, str(folder), *map(str, paths)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(said) == len(texts) and wer(texts, said) < 15
    if format_named(form).load:
        from consomme.data.audio import decode

        ours = start(folder, ["en"]).decode([decode(path)[0] for path in paths], Asked(["en"], {"num_beams": 1}))
        assert wer(texts, [one.text for one in ours]) < 15


@pytest.mark.skipif("CONSOMME_REAL" not in os.environ, reason="takes minutes; CONSOMME_REAL asks for it")
@pytest.mark.parametrize(
    "decoding",
    [{"num_beams": 1}, {"num_beams": 5}, {"num_beams": 1, "timestamps": True}, {"num_beams": 1, "words": True}],
)
def test_it_says_in_onnx_runtime_what_it_says_in_transformers(graphs, clips, decoding):
    """With its timestamps and times of words, and behind a prompt."""
    import torch

    from consomme.data.audio import decode
    from consomme.families import family_of, load

    waves = [decode(path)[0] for path in clips[0]]
    family, model = family_of(CHECKPOINT), load(CHECKPOINT)
    processor = family.processor(CHECKPOINT, ["en"])
    batch = family.collate(processor, [family.features(processor, wave) for wave in waves], None)
    earlier, _ = family.earlier(processor, "Now listen to this.", 20)
    for before in ([], earlier):
        if before:
            opening = family.opening(processor, before, ["en"])
            batch["decoder_input_ids"] = torch.tensor([opening] * len(waves))
        wanted = family.decode(model, processor, batch, ["en"], decoding)
        assert graphs.decode(waves, Asked(["en"], decoding, [before] * len(waves))) == wanted


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The checkpoint in ONNX Runtime."""
    folder = tmp_path_factory.mktemp("onnx")
    write(format_named("onnx"), CHECKPOINT, folder, {}, folder)
    return start(folder, ["en"])
