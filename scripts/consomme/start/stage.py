"""The start stage: settings are {"hub": {"name", "revision"}} or {"folder": PATH}, either with a "tokenizer": {...} for
a new CTC head, or {"scratch": {...}, "tokenizer": {...}}."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError, of_disk
from consomme.common.files import hash_file, read_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.stage import build_once
from consomme.common.tensor_files import header
from consomme.families import family_named, family_of, load
from consomme.families.new_head import has_head
from consomme.start.checkpoint import complete, copy_checkpoint, files_of, refuse_unfit
from consomme.start.hub import fetch, fetch_file
from consomme.start.published import published

MOST = 200  # letters of a library's own message that are shown


def run(job: Job) -> None:
    """Make `job.out`, a complete model folder. ConsommeError if the starting point is missing or of another task."""
    import torch

    torch.set_num_threads(job.threads)
    settings = job.spec["settings"]
    kinds = [kind for kind in ("hub", "folder", "scratch") if settings.get(kind)]
    if len(kinds) != 1:
        raise ConsommeError(f"from: one of hub, folder, scratch is needed; given: {', '.join(kinds) or 'none'}")
    {"hub": _hub, "folder": _folder, "scratch": _scratch}[kinds[0]](job, settings)


def _key(job: Job, **more: Any) -> dict[str, Any]:
    return {"stage": "start", "version": job.spec["version"], "digest": job.spec["digest"], **more}


def _hub(job: Job, settings: dict[str, Any]) -> None:
    name, revision = settings["hub"]["name"], settings["hub"].get("revision")

    def build(folder: Path, work: Path) -> None:
        source, commit = fetch(name, revision)
        for file in _beside(job, source):
            fetch_file(name, commit, file)
        _take(job, source, folder, f"from.hub: {name}")
        _close(job, folder, f"from.hub: {name}", origin={"hub": name, "commit": commit}, **_card(source))

    build_once(job, _key(job, **_texts_key(job)), build)


def _folder(job: Job, settings: dict[str, Any]) -> None:
    source = Path(job.spec.get("data_root", ".")) / settings["folder"]
    if not source.is_dir():
        raise ConsommeError(
            f"from.folder: {source}: no such folder (it must be on this machine already; "
            "from: {hub: NAME} fetches one where there is a network)"
        )
    where = f"from.folder: {source}"
    files = files_of(source, where)
    files += [source / name for name in _beside(job, source)]
    with _as_given(where, source, "the checkpoint"):
        content = {path.name: hash_file(path) for path in files if path.is_file()}

    def build(folder: Path, work: Path) -> None:
        _take(job, source, folder, where)
        _close(job, folder, where, origin={"files": content}, **_card(source))

    build_once(job, _key(job, content=content, **_texts_key(job)), build)


def _card(source: Path) -> dict[str, Any]:
    """For the provenance: what the card says, if there is one."""
    return {"card": found} if (found := published(source)) else {}


def _take(job: Job, source: Path, folder: Path, where: str) -> None:
    """Fill `folder` with the checkpoint in `source`: as it is, or with a new head where a tokenizer is given."""
    files = files_of(source, where)
    family = family_of(source)
    _same_task(job, family, where)
    with _as_given(where, source, "the model"):
        refuse_unfit(family, source, where)
    if tokenizer := job.spec["settings"].get("tokenizer"):
        with _as_given(where, source, "the checkpoint"):
            family.new_head(source, folder, tokenizer, _texts(job, "from.tokenizer"), _seed(job))
        say(f"{where}: a new head for {read_json(folder / 'config.json')['vocab_size']} tokens of the training texts")
        return
    names = {name for path in files if path.suffix == ".safetensors" for name in header(path, where)}
    if family.objective == "ctc" and family.tokenizer and not has_head(names):
        raise ConsommeError(
            f"{where}: an encoder without a head, as pretraining leaves it; from: {{..., tokenizer: {{type: {family.tokenizer_kind}}}}} "
            "gives it a tokenizer made of the training texts and a CTC head for it"
        )
    copy_checkpoint(source, folder, where)
    with _as_given(where, folder, f"its {family.name} processor or tokenizer"):
        if done := family.settle(source, folder, _languages(job)):
            say(f"{where}: {done}")


def _beside(job: Job, source: Path) -> list[str]:
    """The names of further files of a checkpoint that the experiment's languages need; a new head needs none."""
    return [] if job.spec["settings"].get("tokenizer") else family_of(source).beside(source, _languages(job))


def _languages(job: Job) -> list[str]:
    """The experiment's languages, for a checkpoint whose weights depend on them; others are the same for all."""
    return list(job.spec.get("languages") or ())


@contextmanager
def _as_given(where: str, folder: Path, what: str) -> Generator[None]:
    """Around the reading of files that others made: whatever goes wrong is an error of the user's, who knows the
    checkpoint as `where` and not by the folder that it is copied to."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if of_disk(error):  # no fault of the files
            raise
        key, _, given = where.partition(": ")
        said = " ".join(str(error).split()).replace(str(folder), given)
        if isinstance(error, ConsommeError):
            raise ConsommeError(f"{key}: {said}" if said.startswith(given) else f"{where}: {said}") from error
        raise ConsommeError(
            f"{where}: {what} does not load, and all its files must lie there as they were published. "
            f"{type(error).__name__}: {said[:MOST]}"
        ) from error


def _texts_key(job: Job) -> dict[str, Any]:
    """What a tokenizer and random weights rest on; nothing for a checkpoint as it is."""
    if not job.spec["settings"].get("tokenizer") and not job.spec["settings"].get("scratch"):
        return {}
    corpora = job.labelled("corpus")
    fingerprints = {name: read_json(folder / "prepared.json")["fingerprint"] for name, folder in corpora.items()}
    return {"corpora": fingerprints, "seed": job.spec.get("seed")}


def _seed(job: Job) -> int:
    return int(job.spec.get("seed") or 0)


def _scratch(job: Job, settings: dict[str, Any]) -> None:
    scratch = dict(settings["scratch"])
    family = family_named(scratch.pop("family", None) or "")
    _same_task(job, family, "from.scratch")

    def build(folder: Path, work: Path) -> None:
        texts, tokenizer = _texts(job, "from.scratch"), settings.get("tokenizer") or {}
        family.create(folder, scratch, tokenizer, texts, job.spec["languages"], _seed(job))
        _close(job, folder, "from.scratch")

    build_once(job, _key(job, **_texts_key(job)), build)


def _texts(job: Job, where: str) -> Callable[[], Iterator[str]]:
    """The training texts: transcripts, or both sides of each sentence pair."""
    from consomme.data.prepared import Rows

    corpora = job.labelled("corpus")
    if not corpora:
        raise ConsommeError(f"{where}: a tokenizer is made from the training texts; name corpora under data.train")
    rows = Rows.open(corpora)

    def texts() -> Iterator[str]:
        if rows.task == "asr":
            yield from rows.targets
            return
        for source, target in zip(rows.sources, rows.targets, strict=True):
            yield source
            yield target

    return texts


def _same_task(job: Job, family: Any, where: str) -> None:
    if family.task != job.spec["task"]:
        raise ConsommeError(
            f"{where}: {family.name} is a family for {family.task}, the experiment's task is {job.spec['task']}"
        )


def _close(job: Job, folder: Path, where: str, **more: Any) -> None:
    """Load what was made as a user would, so that a broken start never becomes a parent."""
    from consomme.common.provenance import write_provenance

    family = family_of(folder)
    _same_task(job, family, where)
    with _as_given(where, folder, f"its {family.name} processor or tokenizer"):
        processor = family.processor(folder)
    with _as_given(where, folder, "the model"):
        model = load(folder)
    if reason := family.misfit(model.config, processor):
        raise ConsommeError(f"{where}: {reason}")
    complete(folder, model)
    parameters = sum(p.numel() for p in model.parameters())
    say(f"{where}: {family.architecture}, {parameters:,} parameters")
    write_provenance(job, folder, family=family.name, parameters=parameters, **more)
