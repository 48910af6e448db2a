"""`augment:` one key for each augmentation of the table."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from consomme.common.settings import Section
from consomme.train.augment import TABLE, Kind


def _field(kind: Kind) -> Any:
    settings = kind.settings
    if isinstance(settings, type) and issubclass(settings, Section):
        # true: its defaults; false: not at all
        switch = BeforeValidator(lambda value: {} if value is True else None if value is False else value)
        settings = Annotated[settings | None, switch]
    words = f"{', '.join(kind.tasks)}: {kind.description}" if len(kind.tasks) == 1 else kind.description
    return settings | None, Field(None, description=words)


_Kinds: Any = create_model("_Kinds", __base__=Section, **{name: _field(kind) for name, kind in TABLE.items()})


class Augment(_Kinds):
    """Augmentation on the fly. It depends only on seed, epoch and utterance, not on the number of workers."""
