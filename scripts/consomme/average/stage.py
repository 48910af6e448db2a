"""The average stage: by a rule with a spec, or by hand with the models' folders."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from consomme.average import trials
from consomme.average.choosing import best_settings
from consomme.average.methods import TABLE, method_named
from consomme.average.methods.base import Method, Mix
from consomme.average.progress import growing
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import hash_file, read_json, whole_folder, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import ADAPTER, KEPT, config, json_mapping
from consomme.common.provenance import contents, unfinished, write_provenance
from consomme.common.settings import checked
from consomme.common.stage import build_once
from consomme.common.tensor_files import SINGLE
from consomme.evaluate.batch_norms import Statistics, needed, running_means
from consomme.families import windows
from consomme.weights.mean import set_threads


def run(job: Job) -> None:
    """Average the job's parents by the method of the settings."""
    settings, parents = job.spec["settings"], without_unfinished(job)[0]
    method = method_named(settings["method"])
    method.check_parents(len(parents) - bool(settings.get("base")))
    set_threads(job.threads)
    if method.chooses(settings) or settings.get("choose") or needed(job, next(iter(parents.values()))):
        import torch

        torch.set_num_threads(job.threads)
    build_once(job, key(job), lambda folder, work: build(job, folder))


def key(job: Job) -> dict[str, Any]:
    """Everything that the result depends on besides the code: settings and contents of the inputs."""
    parents, index = job.labelled("parent"), f"{KEPT}/{KEPT}.json"
    found = contents(job)
    method = TABLE.get(job.spec["settings"].get("method"))
    if asked := job.spec["settings"].get("study"):
        found["trials"] = [trials.values(asked, path) for path in parents.values()]
    if method and method.keeps:
        found["kept"] = [hash_file(p / index) for p in parents.values() if (p / index).is_file()]
    if method and method.adapters:
        found["adapters"] = [
            hash_file(file) for p in parents.values() for file in sorted(p.glob(f"{ADAPTER}/adapter_*"))
        ]
    if method and method.mixes and needed(job, next(iter(parents.values()))):
        read = job.labelled("statistics")
        found["statistics"] = {n: read_json(p / "prepared.json")["fingerprint"] for n, p in read.items()}
    return found


def build(job: Job, folder: Path) -> None:
    """Fill the empty `folder` with the model and its provenance."""
    parents, settings, left_out = without_unfinished(job)

    judges: list[Any] = []

    def judge() -> Any:
        from consomme.evaluate.judge import Judge

        if not judges:
            judges.append(Judge(job, parents))
        return judges[0]

    method, statistics = method_named(settings["method"]), None
    if method.mixes and needed(job, donor := next(iter(parents.values()))):
        statistics = Statistics(job, donor)
    elif method.mixes and running_means(donor := next(iter(parents.values()))):
        say(
            "batch norms: no training data is known, so their running statistics are the mean of the models', which does not "
            "fit the averaged weights; if the models were trained in the same configuration, they are estimated again"
        )
    mix = Mix(parents, settings, judge, renew=statistics.renew if statistics else None)
    more: dict[str, Any] = {"left_out": left_out} if left_out else {}

    def make(mix: Mix, folder: Path) -> dict[str, Any]:
        chosen = method.build(mix, folder)
        if method.mixes:
            _settle_window(mix, chosen, folder)
        if statistics and not is_parent(mix, method, chosen):
            more["statistics"] = statistics.rewrite(folder)
        return chosen

    tried = settings.get("choose")
    chosen = best_settings(mix, tried, make, folder) if tried else make(mix, folder)
    _settle_language(mix, chosen, folder)
    if asked := settings.get("study"):
        chosen["study"] = trials.study(asked, job.labelled("parent"), chosen["scores"], chosen["metric"])
    if judges and judges[0].cautions:
        chosen["cautions"] = judges[0].cautions
    write_provenance(job, folder, chosen=chosen, **more)


def _averaged(mix: Mix, chosen: Mapping[str, Any]) -> list[Path]:
    """The folders of the models that the average consists of, without the base."""
    named = [name for name in chosen.get("ingredients") or () if name in mix.parents]
    return [mix.parents[name] for name in named or mix.ingredients]


def _settle_window(mix: Mix, chosen: Mapping[str, Any], folder: Path) -> None:
    """Where all averaged models were trained on short windows, the average is run on them, too, also if its files are those
    of a base that was not."""
    averaged = [config(path) for path in _averaged(mix, chosen)]
    if any(one.get(windows.KEY) != windows.SHORT for one in averaged):
        return
    if (own := config(folder)).get(windows.KEY) != windows.SHORT:
        write_json(folder / "config.json", own | {windows.KEY: windows.SHORT})


def _settle_language(mix: Mix, chosen: Mapping[str, Any], folder: Path) -> None:
    """Where the averaged models name different languages for their own decoding, the average names none."""
    from consomme.families import family_of

    files = [path / "generation_config.json" for path in _averaged(mix, chosen)]
    if len({json_mapping(file).get("language") for file in files if file.is_file()}) > 1:
        family_of(folder).name_languages(folder, ())


def is_parent(mix: Mix, method: Method, chosen: Mapping[str, Any]) -> bool:
    """Whether the result is one of the parents: a greedy soup with one ingredient, or alpha 0 or 1."""
    if chosen.get("alpha") in (0, 1):
        return True
    return len(chosen.get("ingredients") or ()) == 1 and not mix.base and not method.keeps


def without_unfinished(job: Job) -> tuple[dict[str, Path], dict[str, Any], dict[str, str]]:
    """The parents whose training reached its end, the settings with their weights alone, and name -> reason of those left
    out. ConsommeError if the base diverged, no ingredient reached its end, or fewer than the quorum did."""
    parents, settings = job.labelled("parent"), job.spec["settings"]
    base = next(iter(parents)) if settings.get("base") else None
    ingredients = {name: path for name, path in parents.items() if name != base}
    left_out = unfinished(ingredients)
    if base:
        unfinished({base: parents[base]}, ["diverged"])
    if not left_out:
        return parents, settings, {}
    quorum, left = job.spec.get("execution", {}).get("quorum", 1), len(ingredients) - len(left_out)
    if left < quorum:
        listed = ", ".join(f"{name} {why}" for name, why in left_out.items())
        raise ConsommeError(f"quorum: {quorum} of {len(ingredients)} models are needed, {left} are left: {listed}")
    stay = [name not in left_out for name in ingredients]

    def weights(given: Any) -> Any:
        if isinstance(given, dict):
            return {key: weights(value) for key, value in given.items()}
        return [w for w, there in zip(given, stay, strict=True) if there]

    def among_the_rest(values: Mapping[str, Any]) -> dict[str, Any]:
        given = values.get("weights")
        return {**values, "weights": weights(given)} if given is not None else dict(values)

    settings = among_the_rest(settings)
    if settings.get("choose"):
        settings["choose"] = [among_the_rest(tried) for tried in settings["choose"]]
    return {name: path for name, path in parents.items() if name not in left_out}, settings, left_out


def by_hand(argv: Sequence[str] | None = None, prog: str = "python -m consomme.average") -> None:
    """`--method METHOD --out DIR MODEL...`: average model folders without configuration and data."""
    free = [name for name, method in TABLE.items() if not method.chooses({"alpha": 0.5})]
    parser = argparse.ArgumentParser(
        prog=prog,
        description=f"Average models of one ancestor. By hand: {', '.join(free)}. All other files of a checkpoint are copied from the base, "
        "else from the first model. Methods that choose on development sets need --spec, which a job's log shows.",
    )
    parser.add_argument("--method", required=True, help=", ".join(TABLE))
    parser.add_argument("--out", required=True, type=Path, help="the folder to make")
    for name, field in _options(free).items():
        many: dict[str, Any] = {"nargs": "+", "metavar": name[0].upper()} if "list[" in str(field.annotation) else {}
        users = ", ".join(n for n in free if name in TABLE[n].keys)
        parser.add_argument(_flag(name), help=f"{users}: {field.description}", **many)
    parser.add_argument("--seed", type=int, help="of random draws (0)")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model folders (safetensors)")
    given = parser.parse_args(argv)
    set_threads(os.cpu_count() or 1)
    method = method_named(given.method)
    settings = _settings(method, given, free)
    method.check_parents(len(given.models))
    folders = [*([Path(given.base)] if given.base else []), *given.models]
    names = [str(path) for path in folders]
    places = [path.resolve() for path in folders]
    if len(set(places)) < len(places):
        raise ConsommeError(
            f"a model is given twice: {', '.join(sorted({str(p) for p in places if places.count(p) > 1}))}"
        )
    if given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise ConsommeError(f"--out {given.out}: there is something already; remove it or name another folder")
    spec = {
        "stage": "average",
        "task": _task(folders[0]),
        "settings": settings,
        "inputs": [f"parent/{name}" for name in names],
    }
    inputs = dict(zip(spec["inputs"], folders, strict=True))
    spec["digest"] = digest(spec)  # of the options; the provenance has the contents of the models
    job = Job(spec, inputs, given.out, given.out, given.out, 1, "cpu")
    size = sum(file.stat().st_size for file in folders[0].glob("*.safetensors"))
    with whole_folder(given.out) as folder, growing(folder / SINGLE, size, method.name):
        build(job, folder)
    say(f"made {given.out}")


def _options(free: Sequence[str]) -> dict[str, FieldInfo]:
    """The settings of the methods that need no data, by name, without those used by a search alone."""
    return {
        name: field
        for method in reversed(free)
        for name, field in TABLE[method].settings.model_fields.items()
        if name not in TABLE[method].searching
    }


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _settings(method: Method, given: argparse.Namespace, free: Sequence[str]) -> dict[str, Any]:
    """The method's settings from the options. ConsommeError if one belongs to another method, is missing or out of range."""
    typed = {k: v for k in (*_options(free), "seed") if (v := getattr(given, k)) is not None}
    seed = {"seed": typed.pop("seed")} if method.seeded and "seed" in typed else {}
    for name in typed:
        if name not in method.keys:
            owners = [n for n, m in TABLE.items() if name in m.keys or (name == "seed" and m.seeded)]
            raise ConsommeError(
                f"{_flag(name)}: the method '{method.name}' takes none; it belongs to {', '.join(owners)}"
            )
    if method.chooses(typed):
        why = "without --alpha " if "alpha" in method.keys else ""
        raise ConsommeError(
            f"--method {method.name} {why}chooses on development sets, which only a job has: give --spec, --inputs and "
            f"--out as a job's log shows them. By hand: {', '.join(free)} (interpolate with --alpha)"
        )
    needed = [name for name, field in method.settings.model_fields.items() if field.is_required() or name == "base"]
    for name in needed:
        if name not in typed:
            raise ConsommeError(f"--method {method.name} needs {_flag(name)}")
    read = checked(method.settings, typed, _flag).model_dump(exclude=set(method.searching), exclude_none=True)
    return {"method": method.name, **read, **seed}


def _task(folder: Path) -> str | None:
    """asr or nmt; None if the family is unknown: any safetensors checkpoints can be averaged."""
    from consomme.families import family_of

    try:
        return family_of(folder).task
    except ConsommeError:
        return None


def entry(argv: Sequence[str] | None = None, prog: str = "python -m consomme.average") -> None:
    """The command line: a job with --spec, else by hand."""
    from consomme.common.stage import main

    given = list(sys.argv[1:] if argv is None else argv)
    if any(a == "--spec" or a.startswith("--spec=") for a in given):
        main(run, "Average models.", argv)
        return
    with exit_on_error():
        by_hand(given, prog)
