"""A tiny NLLB learns six directions at once: every stage of the plan, one after the other, without Snakemake."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
import torch
import transformers

from consomme.common.job import Job
from consomme.plan.plan import Plan
from consomme.report.findings.languages import by_language
from consomme.report.outcomes import Outcomes

WORDS = {
    "en": ["one", "two", "three", "four"],
    "de": ["eins", "zwei", "drei", "vier"],
    "fr": ["un", "deux", "trois", "quatre"],
}
CODES = {"en": "eng_Latn", "de": "deu_Latn", "fr": "fra_Latn"}
PAIRS = list(itertools.permutations(WORDS, 2))
BART = {
    **dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 16),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    "max_position_embeddings": 40,
}


def nllb(folder: Path) -> None:
    letters = sorted({letter for words in WORDS.values() for word in words for letter in word})
    pieces = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *letters])}
    tokenizer = transformers.NllbTokenizer(vocab=pieces, merges=[])
    torch.manual_seed(0)
    config = transformers.M2M100Config(vocab_size=len(tokenizer), **BART)
    transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def written(folder: Path) -> dict:
    """The files of the corpora, and the configuration: four directions by keys, two in one table by its columns."""
    for name, firsts in (("train", (0, 1)), ("test", (2, 3))):
        for language, words in WORDS.items():
            lines = [" ".join(words[i] for i in row) for row in itertools.product(firsts, range(4))]
            (folder / f"{name}.{language}").write_text("\n".join(lines) + "\n")
    rows = [f"{WORDS[a][i]}\t{WORDS[b][i]}\t{a}\t{b}" for a, b in (("de", "fr"), ("fr", "de")) for i in range(4)]
    (folder / "both.tsv").write_text("\n".join(["source\ttarget\tfrom\tto", *rows]) + "\n")
    corpora: dict[str, dict] = {
        f"{a}-{b}-{name}": {"source": "parallel", "path": name, "languages": [a, b]}
        for a, b in PAIRS
        for name in ("train", "test")
    }
    columns = {"source_language": "from", "target_language": "to"}
    corpora["both"] = {"source": "manifest", "path": "both.tsv", "columns": columns}
    keyed = [f"{a}-{b}-train" for a, b in PAIRS if "en" in (a, b)]
    return {
        "corpora": corpora,
        "experiments": {
            "six": {
                "task": "nmt",
                "data": {
                    "train": [*keyed, "both"],
                    "temperature": 5,
                    "dev": {"all": "both"},
                    "test": {"mixed": [f"{a}-{b}-test" for a, b in PAIRS[:3]]} | {"rest": [f"{a}-{b}-test" for a, b in PAIRS[3:]]},
                },
                "decoding": {"max_new_tokens": 6},
                "models": {
                    "base": {"from": {"folder": "nllb"}},
                    "tuned": {"train": "base", "max_steps": 2, "per_device_train_batch_size": 8},
                    "mean": {"average": ["base", "tuned"]},
                },
            }
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The plan, with all of it made in the working directory."""
    from consomme.average.stage import run as average
    from consomme.data.prepare import run as prepare
    from consomme.evaluate.stage import run as evaluate
    from consomme.start.stage import run as start
    from consomme.train.stage import run as train

    folder, before = tmp_path_factory.mktemp("six"), Path.cwd()
    nllb(folder / "nllb")
    os.chdir(folder)
    plan = Plan(written(folder))
    stages = {"data": prepare, "start": start, "train": train, "average": average}
    for item in (*plan.corpora.values(), *plan.models.values()):
        inputs = {label: Path(marker).parent for label, marker in item.inputs.items()}
        place = Path(item.folder)
        stages[item.stage](Job(json.loads(item.spec), inputs, place, Path("state") / item.id, Path("cache"), 1, "cpu"))
    for item in plan.evaluations.values():
        inputs = {label: Path(marker).parent for label, marker in item.inputs.items()}
        evaluate(
            Job(json.loads(item.spec), inputs, Path(item.path), Path("state") / item.model.id, Path("cache"), 1, "cpu")
        )
    yield plan
    os.chdir(before)


def test_six_directions_at_once(done):
    tuned = next(m for m in done.models.values() if m.node == "tuned")
    record = json.loads((Path(tuned.folder) / "provenance.json").read_text())
    assert record["steps"] == 2 and not record["left_out"]
    outcomes = Outcomes(json.loads(json.dumps(done.studies["six"].report)), Path("cache"))
    assert list(by_language(outcomes, "bleu").columns) == [*(f"{a} → {b}" for a, b in PAIRS), "mean"]


def test_each_row_is_said_in_its_own_target_language(done):
    """The tiny model knows no words, but the first token of each hypothesis is forced: what transformers says."""
    tuned = next(m for m in done.models.values() if m.node == "tuned")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tuned.folder)
    evaluation = next(e for e in done.evaluations.values() if e.model is tuned)
    for entry in json.loads(Path(evaluation.path).read_text())["sets"]:
        if entry["split"] != "test":
            continue
        for line in Path(entry["path"]).read_text().splitlines()[::7]:
            row = json.loads(line)
            source, target = row["id"].split(":")[0].split("-")[:2]
            tokenizer = transformers.AutoTokenizer.from_pretrained(tuned.folder, src_lang=CODES[source])
            number = int(row["id"].split(":")[1]) - 1
            text = Path(f"test.{source}").read_text().splitlines()[number]
            code = tokenizer.convert_tokens_to_ids(CODES[target])
            said = model.generate(
                **tokenizer(text, return_tensors="pt"), forced_bos_token_id=code, max_new_tokens=6, num_beams=1
            )
            assert tokenizer.decode(said[0], skip_special_tokens=True).strip() == row["hypothesis"]
