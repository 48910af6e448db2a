"""Parakeet as a transducer, above a Fast Conformer: RNN-T (Graves 2012, arXiv 1211.3711), and TDT, which predicts with each
token how many frames it lasts (Xu et al. 2023, arXiv 2304.06795)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.families import fast_conformer, keys
from consomme.families.fast_conformer import DROPOUTS, PADDING, STACKS, UNKNOWN, FastConformer, Tokenizer
from consomme.families.greedy import lengths_of, only_greedy, pad_frames, words

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

BLANK = "<blank>"
LABEL_PAD = -100


class RnntScratch(fast_conformer.Scratch):
    """A new model. Sizes that train on a processor."""

    decoder_hidden_size: keys.PredictorWidth = 64
    num_decoder_layers: keys.PredictorLayers = 1
    max_symbols_per_step: keys.SymbolsPerStep = 10


class TdtScratch(RnntScratch):
    """A new model. Sizes that train on a processor."""

    durations: keys.Durations = Field([0, 1, 2, 3, 4])


@dataclass(frozen=True)
class Transducer(FastConformer):
    """See `Family`. Its tokens are subwords."""

    def ids(self, tokenizer: Any) -> dict[str, int]:
        return super().ids(tokenizer) | {"blank_token_id": tokenizer.convert_tokens_to_ids(BLANK)}

    def complete(self, model: Any) -> None:
        model.generation_config.decoder_start_token_id = model.config.blank_token_id

    def misfit(self, config: Any, processor: Any) -> str | None:
        """Beside labels that the head lacks: another blank in the config, which the loss reads, than in the tokenizer."""
        if reason := super().misfit(config, processor):
            return reason
        blank, named = config.blank_token_id, processor.tokenizer.get_vocab().get(BLANK)
        if not 0 <= blank < config.vocab_size:
            return f"blank_token_id is {blank}, and the head has {config.vocab_size} tokens"
        if named is not None and named != blank:
            return f"blank_token_id is {blank} in its config.json, and {named} ('{BLANK}') in its tokenizer"
        return None

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        return words(processor.tokenizer, text)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        return pad_frames(features, labels, processor.feature_extractor.padding_value)

    def generate(
        self,
        model: Any,  # one with transformers' GenerationMixin
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        import torch

        from consomme.families.settings import options_for, to_model

        only_greedy(decoding, self.name)
        batch, blank = to_model(model, batch), model.config.blank_token_id
        frames = self.frames(model, batch)
        most = frames * model.config.max_symbols_per_step
        settings = {"num_beams": 1, "max_new_tokens": int(most.max()), "decoder_start_token_id": blank}
        with torch.inference_mode():
            found = model.generate(**batch, **options_for(model, settings, {}))
        ids, began = found.sequences[:, 1:], (found.durations.cumsum(1) - found.durations)[:, 1:]
        # `generate` goes on through the padding until the longest example ends, or, where a model stays in a frame for ever,
        # until that may have no more tokens: here each row ends by its own frames
        steps = torch.arange(ids.shape[1], device=ids.device)
        keep = (ids != blank) & (began < frames[:, None]) & (steps < most[:, None])
        rows, tokenizer = zip(ids.tolist(), keep.tolist(), strict=True), processor.tokenizer
        written = [[token for token, there in zip(*row, strict=True) if there] for row in rows]
        said = [tokenizer.decode(row, group_tokens=False, skip_special_tokens=True) for row in written]
        return [" ".join(text.split()) for text in said]

    def decoder_inputs(self, model: PreTrainedModel, labels: Tensor) -> Tensor:
        """The labels [batch, tokens], padded with -100, behind the blank: [batch, tokens + 1]."""
        from torch.nn.functional import pad

        blank = int(model.config.blank_token_id)
        return pad(labels.masked_fill(labels == LABEL_PAD, blank), (1, 0), value=blank)

    def frames(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        return self.output_frames(model, lengths_of(batch))

    def lattice_nll(self, model: PreTrainedModel, logits: Tensor, labels: Tensor, frames: Tensor) -> Tensor:
        from transformers.loss.loss_rnnt import rnnt_loss

        logits, blank, counts = lattice(logits, frames), int(model.config.blank_token_id), (labels != LABEL_PAD).sum(-1)
        return rnnt_loss(logits, labels.clamp_min(0), frames, counts, blank, reduction="none")


@dataclass(frozen=True)
class DurationTransducer(Transducer):
    """See `Family`."""

    def misfit(self, config: Any, processor: Any) -> str | None:
        if not {0, 1} <= set(config.durations):
            return f"its durations are {list(config.durations)}: without 0 and 1 some transcripts have no alignment"
        return super().misfit(config, processor)

    def lattice_nll(self, model: PreTrainedModel, logits: Tensor, labels: Tensor, frames: Tensor) -> Tensor:
        from transformers.loss.loss_tdt import tdt_loss

        logits, config, counts = lattice(logits, frames), model.config, (labels != LABEL_PAD).sum(-1)
        tokens, durations = logits.split([config.vocab_size, len(config.durations)], dim=-1)
        lasting, blank = list(config.durations), int(config.blank_token_id)
        return tdt_loss(
            tokens, durations, labels.clamp_min(0), frames, counts, blank, durations=lasting, reduction="none"
        )


def lattice(logits: Tensor, frames: Tensor) -> Tensor:
    """The logits as [batch, frames, tokens + 1, outputs], without frames that are padding in the whole batch; the model
    leaves out the third dimension where no example has a token."""
    whole = logits if logits.dim() == 4 else logits.unsqueeze(2)
    return whole[:, : int(frames.max())]


RNNT = Transducer(
    name="parakeet_rnnt",
    task="asr",
    objective="transducer",
    model_type="parakeet_rnnt",
    published=("parakeet-rnnt",),
    architecture="ParakeetForRNNT",
    config="ParakeetRNNTConfig",
    batch_norm=True,
    stacks=STACKS,
    scratch=RnntScratch,
    tokenizer=Tokenizer,
    dropouts=DROPOUTS,
    special=(PADDING, UNKNOWN, BLANK),
    decoder_type="rnnt",
    outer=("decoder_hidden_size", "num_decoder_layers", "max_symbols_per_step"),
)
TDT = DurationTransducer(
    name="parakeet_tdt",
    task="asr",
    objective="transducer",
    model_type="parakeet_tdt",
    published=("parakeet-tdt",),
    architecture="ParakeetForTDT",
    config="ParakeetTDTConfig",
    batch_norm=True,
    stacks=STACKS,
    scratch=TdtScratch,
    tokenizer=Tokenizer,
    dropouts=DROPOUTS,
    special=(PADDING, UNKNOWN, BLANK),
    decoder_type="tdt",
    outer=("decoder_hidden_size", "num_decoder_layers", "max_symbols_per_step", "durations"),
)
