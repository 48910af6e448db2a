"""The languages of corpora and of models, as far as they are known before any job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError
from consomme.families.codes import code_of
from consomme.plan.problems import fail

if TYPE_CHECKING:
    from consomme.plan.items import Model, Prepared


def check(model: Model, corpora: Iterable[Prepared], path: str) -> None:
    """ConfigurationError if no token of the model stands for a language of a corpus. path: of the experiment."""
    if model.codes is None or model.family is None:
        return
    for corpus in corpora:
        for language in corpus.spoken or ():
            try:
                code_of(language, model.codes, model.family)
            except ConsommeError as error:
                key = "language" if corpus.task == "asr" else "languages"
                where = f"corpora.{corpus.name}.{key}" if corpus.named else f"{path}.languages"
                fail(where, f"'{corpus.name}' can't be for '{model.name}': {str(error).removeprefix('languages: ')}")


def ancestors(models: Iterable[Model]) -> Iterator[Model]:
    """The models, and all that they were made or taught or judged with, each once."""
    seen: set[int] = set()
    waiting = list(models)
    while waiting:
        model = waiting.pop()
        if id(model) not in seen:
            seen.add(id(model))
            yield model
            behind = (model.parents, model.before, model.teachers, model.references)
            waiting += [one for found in behind for one in found.values()]
