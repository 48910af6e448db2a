"""Parakeet with a CTC head, above a Fast Conformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consomme.families.fast_conformer import DROPOUTS, STACKS, FastConformer, Scratch, Tokenizer
from consomme.families.greedy import CtcFamily
from consomme.families.subwords import SPACE

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Parakeet(FastConformer, CtcFamily):
    """See `Family`. Its tokens are subwords."""

    def texts(self, processor: Any, ids: Sequence[np.ndarray]) -> list[str]:
        tokenizer = processor.tokenizer
        said = [tokenizer.decode(row.tolist(), group_tokens=False, skip_special_tokens=True) for row in ids]
        return [" ".join(text.split()) for text in said]

    def pieces(self, tokenizer: Any) -> list[str]:
        special = set(tokenizer.all_special_tokens)
        names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        return ["" if name in special else name.replace(SPACE, " ") for name in names]

    def head(self, model: Any, states: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return model.ctc_head(states)


FAMILY = Parakeet(
    name="parakeet",
    task="asr",
    objective="ctc",
    model_type="parakeet_ctc",
    published=("parakeet-ctc",),
    architecture="ParakeetForCTC",
    config="ParakeetCTCConfig",
    batch_norm=True,
    stacks=STACKS,
    scratch=Scratch,
    tokenizer=Tokenizer,
    dropouts=DROPOUTS,
    word_times=True,
)
