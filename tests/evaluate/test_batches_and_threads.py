"""How rows are put into batches, and how many threads compute, are matters of speed: in every family losses are the same but
for the rounding of float32, and texts are the same in all batches. docs/how-it-works.md states the tolerance."""

import numpy as np
import pytest
import torch

from consomme.common.files import write_json
from consomme.data.prepared import Rows, Writer
from consomme.evaluate.evaluator import Evaluator
from consomme.families import family_named, load

TOLERANCE = 1e-5  # of a row's loss, relative
FAMILIES = [
    *("ctc", "wav2vec2", "hubert", "wavlm", "parakeet", "parakeet_rnnt", "parakeet_tdt"),
    *("whisper", "speech2text", "moonshine", "marian", "m2m_100", "mbart", "t5"),
]
SILENT = ("speech2text", "m2m_100", "mbart")  # random weights of these end their texts at once
SENTENCES = [
    "the cat sat on a mat",
    "hello",
    "how are you?",
    "bonjour le monde",
    "ça va ?",
    "le chat est assis",
    "a mat",
]


def corpus(folder, task, noise):
    """Seven rows of different lengths."""
    folder.mkdir()
    with Writer(folder / "rows.arrow", task) as writer:
        for n, text in enumerate(SENTENCES):
            row = {"id": f"r{n}", "speaker": None, "document": None, "recordings": []}
            if task == "asr":
                audio = (32767 * noise(9000 + 1700 * (n * 3 % 7), n)).astype(np.int16)
                row |= {"seconds": len(audio) / 16000, "text": text[:4], "audio_hash": str(n), "audio": audio}
            else:
                row |= {"source": text, "target": SENTENCES[n - 3]}
            writer.add(row)
    about = {"task": task, "name": "c", "fingerprint": writer.fingerprint(16000)}
    write_json(folder / "prepared.json", about | ({"sampling_rate": 16000} if task == "asr" else {}))
    return folder


def test_every_family_is_here(every_family):
    assert sorted(FAMILIES) == sorted(every_family)


@pytest.mark.parametrize("name", FAMILIES)
def test_they_change_no_text_and_losses_by_rounding_alone(name, folders, recipe, noise, tmp_path):
    family, languages = family_named(name), recipe(name)[3]
    rows, processor = Rows.open([corpus(tmp_path / "c", family.task, noise)]), family.processor(folders(name))
    model = load(folders(name))

    def asked(size, threads):
        torch.set_num_threads(threads)
        return Evaluator(
            *(family, processor, {"t": rows}),
            languages=languages,
            decoding={"num_beams": 1, "max_new_tokens": 8 if family.objective == "seq2seq" else None},
            normaliser="verbatim",
            cache=tmp_path / f"{size} {threads}",
            batch_size=size,
            processor_key=name,
        )

    whole = asked(64, 1)
    loss, said = whole.statistics(model, "t", "loss"), whole.hypotheses(model, "t").texts
    assert name in SILENT or len(set(said)) > 1, "what a model says depends on what it is given"
    assert (loss > 0).all() and len(set(loss[:, 0])) == len(rows)
    for size, threads in ((1, 1), (3, 1), (64, 2)):
        other = asked(size, threads)
        np.testing.assert_allclose(other.statistics(model, "t", "loss"), loss, rtol=TOLERANCE)
        if threads == 1:
            assert other.hypotheses(model, "t").texts == said
