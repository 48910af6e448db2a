"""Will a checkpoint work? The whole path with it, on a few made-up rows, in a folder that is removed afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any, TextIO

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.job import parse
from consomme.doctor.finding import Finding

if TYPE_CHECKING:
    from consomme.families.base import Family

NAME = "trial"  # of the experiment
WIDTH = len("checkpoint")  # of the longest step's name
SECONDS, LOUDNESS = 2.0, 0.1  # of a recording, which is noise
PAIRS = {
    "train": [
        ("the first sentence", "la première phrase"),
        ("here is another", "en voici une autre"),
        ("a third one", "une troisième"),
        ("and the last", "et la dernière"),
    ],
    "dev": [("good morning", "bonjour"), ("see you soon", "à bientôt")],
    "test": [("the water is cold", "l'eau est froide"), ("thank you", "merci")],
}
STAGES = {"data": "consomme.data.prepare"}  # where it isn't consomme.STAGE.stage


@dataclass
class Trial:
    """The steps with one checkpoint. `crashes`: tracebacks of what should have been an error in words."""

    name: str  # a folder, or a name on the Hugging Face hub
    crashes: list[str] = field(default_factory=list)

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """Each step and its result, as soon as it is there. A step that needs one that failed is not tried."""
        given = Path(self.name).resolve() if Path(self.name).is_dir() else None
        with TemporaryDirectory(prefix="consomme-trial-") as place, contextlib.chdir(place):
            made: dict[str, Any] = {}

            def prepare() -> str:
                folder = given or _fetched(self.name)
                made.update(_experiment(folder))
                return f"{made['family'].name}, {made['family'].task}, tried with languages [{', '.join(made['languages'])}]"

            found = self._tried(prepare)
            yield "checkpoint", found
            well = {"checkpoint": bool(found.well)}
            for step, does in STEPS.items():
                needed = "checkpoint" if step == "start" else "train" if step == "average" else "start"
                if step == "prune" and "half" not in made.get("models", {"half": None}):
                    found = Finding(None, "nothing to prune: " + made["unprunable"])
                elif not well[needed]:
                    found = Finding(None, f"not tried: it needs {needed}")
                else:
                    found = self._tried(lambda does=does: does(made))
                well[step] = bool(found.well)
                yield step, found

    def _tried(self, do: Callable[[], str]) -> Finding:
        began = time.monotonic()
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                with _stderr_to(log):
                    said = do()
            except ConsommeError as error:
                return Finding(False, " ".join(str(error).split()))
            except Exception as error:
                log.seek(0)
                self.crashes.append(f"{log.read()}{traceback.format_exc()}")
                what = " ".join(str(error).split())[:200]
                return Finding(False, f"{type(error).__name__}: {what}", "please report this with the lines below")
        return Finding(True, f"{said} ({time.monotonic() - began:.1f} s)")


@contextlib.contextmanager
def _stderr_to(log: TextIO) -> Generator[None]:
    """Send what this process writes to its standard error to a file; libraries in C write to the descriptor."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(log.fileno(), 2)
        with contextlib.redirect_stderr(log):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# -- the experiment ----------------------------------------------------------------------------------------------------
def _fetched(name: str) -> Path:
    from consomme.start.hub import fetch

    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConsommeError(f"--model {name}: there is no such folder, and names on the hub are OWNER/NAME")
    return fetch(name, None)[0]


def _experiment(folder: Path) -> dict[str, Any]:
    """The plan of the trial, made in the working directory, and what the steps say of it."""
    from consomme.families import family_of
    from consomme.plan.plan import Plan
    from consomme.plan.verbs.starting import check_head, read_checkpoint

    family = family_of(folder)
    check_head(folder, {}, "--model")
    known = read_checkpoint(folder)
    languages = family.some_languages(folder)
    short = (
        {"window": "short"} if family.windows else {}
    )  # a minute instead of many; the export is asked in the full window
    models: dict[str, Any] = {
        "base": {"from": {"folder": str(folder)}},
        "tuned": {"train": "base", "max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-6, **short},
        "mean": {"average": ["base", "tuned"]},
        "deployed": {"export": "base", "format": _format(family, folder)},
    }
    depth = {side: layers for side, layers in known.get("depth", {}).items() if layers > 1}
    unprunable = "the parts of its architecture are unknown" if not family.stacks else "it has one layer"
    if depth:
        side = list(depth)[-1]
        models["half"] = {"prune": "base", "layers": {side: {"drop": "1/2", "by": "uniform"}}}
    experiment = {
        "task": family.task,
        "languages": languages,
        "normaliser": "verbatim",
        "data": {"train": "train", "dev": {"d": "dev"}, "test": {"t": "test"}},
        "decoding": {"max_new_tokens": 16, **short},
        "models": models,
    }
    plan = Plan({"corpora": _corpora(family, folder, languages), "experiments": {NAME: experiment}})
    return {
        "plan": plan,
        "family": family,
        "languages": languages,
        "models": {model.node: model for model in plan.models.values()},
        "unprunable": unprunable,
    }


def _format(family: Family, folder: Path) -> str:
    """ctranslate2 where the family has it and the package is here."""
    able = "ctranslate2" in family.exports and find_spec("ctranslate2") is not None
    return "ctranslate2" if able and family.no_conversion(read_json(folder / "config.json")) is None else "safetensors"


def _corpora(family: Family, folder: Path, languages: list[str]) -> dict[str, Any]:
    """Corpora of a few rows, written to the working directory: noise with transcripts, or sentence pairs."""
    if family.task == "nmt":
        for split, pairs in PAIRS.items():
            lines = [f"{source}\t{target}\n" for source, target in pairs]
            Path(f"{split}.tsv").write_text("source\ttarget\n" + "".join(lines), encoding="utf-8")
        return {split: {"source": "manifest", "path": f"{split}.tsv"} for split in PAIRS}
    import numpy as np
    import soundfile

    rate, texts = _hearing(family, folder, languages)
    generator = np.random.default_rng(0)
    for split, pairs in PAIRS.items():
        lines = []
        for i in range(len(pairs)):
            wave = LOUDNESS * generator.standard_normal(int(SECONDS * rate))
            soundfile.write(f"{split}-{i}.wav", wave.clip(-1, 1), rate)
            lines.append(f"{split}-{i}.wav\t{texts[i % len(texts)]}\n")
        Path(f"{split}.tsv").write_text("audio\ttext\n" + "".join(lines), encoding="utf-8")
    return {split: {"source": "manifest", "path": f"{split}.tsv", "sampling_rate": rate} for split in PAIRS}


def _hearing(family: Family, folder: Path, languages: list[str]) -> tuple[int, list[str]]:
    """The sampling rate of a recogniser, and transcripts that it can spell. Where its processor doesn't load, any will do:
    the start says why."""
    from consomme.families.vocabulary import spellable

    default = [source for source, _ in PAIRS["train"]]
    try:
        processor = family.processor(folder, languages)
    except Exception:
        return 16000, default
    letters = [token for token in spellable(processor.tokenizer) if len(token) == 1 and token.isalpha()]
    if family.objective == "ctc" and letters:
        default = [
            " ".join("".join(letters[(5 * w + i + 3 * n) % len(letters)] for i in range(3)) for w in range(2))
            for n in range(4)
        ]
    return processor.feature_extractor.sampling_rate, default


# -- the steps ---------------------------------------------------------------------------------------------------------
def _run(item: Any, out: str) -> None:
    """Run the job of a corpus, a model or an evaluation of the plan in this process."""
    stage = json.loads(item.spec)["stage"]
    inputs = ["--inputs", *item.inputs.values()] if item.inputs else []
    options = ["--out", out, "--state", f"state/{item.digest}", "--threads", str(os.cpu_count() or 1)]
    job = parse(["--spec", item.spec, *inputs, *options], "")
    import_module(STAGES.get(stage, f"consomme.{stage}.stage")).run(job)


def _model(made: dict[str, Any], node: str) -> dict[str, Any]:
    """Make a model. Returns its provenance."""
    model = made["models"][node]
    _run(model, model.marker)
    return read_json(model.marker)


def _start(made: dict[str, Any]) -> str:
    for corpus in made["plan"].corpora.values():
        _run(corpus, corpus.marker)
    record = _model(made, "base")
    return f"{made['family'].architecture}, {record['parameters']:,} parameters"


def _evaluate(made: dict[str, Any]) -> str:
    (evaluation,) = (e for e in made["plan"].evaluations.values() if e.model.node == "base")
    _run(evaluation, evaluation.path)
    path = next(e["path"] for e in read_json(evaluation.path)["sets"] if e["split"] == "test")
    said = [json.loads(line)["hypothesis"] for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
    what = "of noise" if made["family"].task == "asr" else f"of '{PAIRS['test'][0][0]}'"
    return f"{len(said)} test rows; its answer to the first, {what}: '{said[0][:60]}'"


def _train(made: dict[str, Any]) -> str:
    record = _model(made, "tuned")
    if "diverged" in record:
        raise ConsommeError(
            f"the loss is no number after step {record['diverged']['step']}: the weights may be damaged"
        )
    return f"{record['steps']} steps"


def _average(made: dict[str, Any]) -> str:
    _model(made, "mean")
    return "the mean of it and its tuned copy"


def _prune(made: dict[str, Any]) -> str:
    layers = _model(made, "half")["chosen"]["layers"]
    return "; ".join(f"{side}: layers {kept['kept']} kept, {kept['dropped']} dropped" for side, kept in layers.items())


def _export(made: dict[str, Any]) -> str:
    agreement = _model(made, "deployed").get("agreement") or {}
    form = made["models"]["deployed"].identity["settings"]["format"]
    return f"{form}; {agreement.get('same', 0)} of {agreement.get('examples', 0)} answers are those of the checkpoint"


STEPS: dict[str, Callable[[dict[str, Any]], str]] = {
    "start": _start,
    "evaluate": _evaluate,
    "train": _train,
    "average": _average,
    "prune": _prune,
    "export": _export,
}
