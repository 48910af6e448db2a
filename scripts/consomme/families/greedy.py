"""What the CTC families share: greedy decoding, padding of frames, the words of a transcript as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families import characters
from consomme.families.base import Family, Hypothesis, Segment
from consomme.families.vocabulary import names_special, spellable, spelled
from consomme.families.words import gathered

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

MANY = 1_000_000  # frames of the input: their number in the output shows the stride


@dataclass(frozen=True)
class CtcFamily(Family):
    """A family whose tokens are characters in a Wav2Vec2CTCTokenizer; see `Family`."""

    def make_tokenizer(self, out: Path, settings: Mapping[str, Any], texts: Callable[[], Iterator[str]]) -> Any:
        """A tokenizer of the training texts; what it is made of lies in the folder `out`."""
        from consomme.families.settings import merged

        characters.write_vocabulary(out, merged("tokenizer", self.tokenizer, settings), texts, self.name)
        return characters.tokenizer(out / "vocab.json")

    def make_processor(self, extractor: Any, tokenizer: Any) -> Any:
        """The family's processor of these two."""
        raise ConsommeError(f"from.tokenizer: '{self.name}' keeps the tokenizer that it was trained with")

    def new_head(
        self, source: Path, out: Path, tokenizer: Mapping[str, Any], texts: Callable[[], Iterator[str]], seed: int
    ) -> None:
        from consomme.families import new_head

        extractor = new_head.extractor_of(source)
        processor = self.make_processor(extractor, self.make_tokenizer(out, tokenizer, texts))
        new_head.write(self, source, out, processor, seed)

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        return words(processor.tokenizer, text)

    def misfit(self, config: Any, processor: Any) -> str | None:
        """Beside labels that the head lacks: outputs that no token names, and another blank in the config, which the loss
        reads, than in the tokenizer, which decoding reads."""
        reason = super().misfit(config, processor) or head_misfit(config, processor.tokenizer)
        if reason and self.tokenizer:
            kind = self.tokenizer_kind
            reason += f"; correct the files, or make a new head: from: {{..., tokenizer: {{type: {kind}}}}}"
        return reason

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        return pad_frames(features, labels, processor.feature_extractor.padding_value)

    def generate(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        return [said.text for said in self.decode(model, processor, batch, languages, decoding)]

    def decode(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[Hypothesis]:
        """A word begins with the first frame of its first token and ends with the last one of its last."""
        import torch

        from consomme.families.settings import to_model

        only_greedy(decoding, self.name)
        batch = to_model(model, batch)
        with torch.inference_mode():
            best = model(**batch).logits.argmax(-1)
            counts = self.frames(model, batch)
            # a token counts where it differs from the one before it, is not the blank and is not padding
            keep = best != processor.tokenizer.pad_token_id
            keep[:, 1:] &= best[:, 1:] != best[:, :-1]
            keep &= torch.arange(best.shape[1], device=best.device) < counts[:, None]
            best, keep = best.cpu().numpy(), keep.cpu().numpy()
        texts = self.texts(processor, [row[there] for row, there in zip(best, keep, strict=True)])
        if not decoding.get("words"):
            return [Hypothesis(text) for text in texts]
        rows = zip(texts, best, keep, counts.tolist(), strict=True)
        tick = self.frame_seconds(model, processor)
        return [
            Hypothesis(text, words=[self._words(processor, row[:count], there[:count], tick)])
            for text, row, there, count in rows
        ]

    def _words(self, processor: Any, best: np.ndarray, first: np.ndarray, tick: float) -> list[Segment]:
        """The words of one example. best: the token of each frame; first: whether it is the first frame of a token."""
        import numpy as np

        spelled = self.pieces(processor.tokenizer)
        begins = np.flatnonzero(first)
        changes = np.append(np.flatnonzero(np.diff(best)) + 1, len(best))
        ends = changes[np.searchsorted(changes, begins, side="right")]
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        words = gathered((spelled[best[begin]], begin * tick, end * tick) for begin, end in spans)
        return [word._replace(text=_cased(processor.tokenizer, word.text)) for word in words]

    def frame_seconds(self, model: PreTrainedModel, processor: Any) -> float:
        """Seconds from one frame of the output to the next."""
        import torch

        less, more = self.output_frames(model, torch.tensor([MANY, 2 * MANY])).tolist()
        return MANY / (more - less) * self.input_seconds(processor.feature_extractor)

    def input_seconds(self, extractor: Any) -> float:
        """Seconds from one frame of the input to the next."""
        return (1 if self.waveform else extractor.hop_length) / extractor.sampling_rate

    def pieces(self, tokenizer: Any) -> list[str]:
        """The text of each token id: special tokens are empty, and words are parted by spaces."""
        return characters.pieces(tokenizer)

    def texts(self, processor: Any, ids: Sequence[np.ndarray]) -> list[str]:
        """The text of each row of token ids, without blanks and repetitions."""
        spelled = self.pieces(processor.tokenizer)
        said = [" ".join("".join(spelled[t] for t in row).split()) for row in ids]
        return [_cased(processor.tokenizer, text) for text in said]

    def frames(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        return self.output_frames(model, lengths_of(batch))

    def output_frames(self, model: Any, lengths: Tensor) -> Tensor:
        return model._get_feat_extract_output_lengths(lengths).to(lengths.dtype)


def _cased(tokenizer: Any, text: str) -> str:
    """In small letters if the tokenizer takes and gives these, and has capitals."""
    return text.lower() if getattr(tokenizer, "do_lower_case", False) else text


def words(tokenizer: Any, text: str) -> list[int]:
    """The token ids of a transcript without special tokens, one space between words."""
    text = " ".join(text.split())
    if names_special(tokenizer, text):
        return spelled(tokenizer, text)
    return tokenizer(text, add_special_tokens=False).input_ids


def head_misfit(config: Any, tokenizer: Any) -> str | None:
    """Why a CTC head with this config doesn't fit the tokenizer, or None."""
    outputs, blank, padding = config.vocab_size, config.pad_token_id, tokenizer.pad_token_id
    if padding is None:
        return "its tokenizer has no padding token, which is CTC's blank"
    if blank != padding:
        given = "null" if blank is None else blank
        return f"pad_token_id, CTC's blank, is {given} in its config.json and {padding} ('{tokenizer.pad_token}') in its tokenizer"
    if padding >= outputs:
        return f"CTC's blank is {padding}, and the head has only {outputs} outputs"
    named = max(tokenizer.get_vocab().values()) + 1
    if outputs > named:
        return f"its head has {outputs} outputs, and its tokenizer has tokens for {named}"
    letter = next((token for token in spellable(tokenizer) if len(token) == 1 and token.isalnum()), None)
    if letter and getattr(tokenizer, "word_delimiter_token", None):
        _, space, *_ = tokenizer(f"{letter} {letter}").input_ids
        meant = tokenizer.convert_ids_to_tokens(space)
        if meant.isalnum():
            return f"the space between words has the id {space}, which is that of '{meant}' in its vocabulary"
    return None


def only_greedy(decoding: Mapping[str, Any], family: str) -> None:
    """ConsommeError if beams are asked for."""
    if int(decoding.get("num_beams") or 1) != 1:
        raise ConsommeError(f"decoding.num_beams: {decoding['num_beams']} given; {family} decodes greedily, so 1")


def lengths_of(batch: Mapping[str, Tensor]) -> Tensor:
    """The lengths of a batch's inputs [batch], int64: by its mask, or all as long as the batch where it has none."""
    import torch

    if "attention_mask" in batch:
        return batch["attention_mask"].sum(-1)
    inputs = batch["input_values"] if "input_values" in batch else batch["input_features"]
    return torch.full((len(inputs),), inputs.shape[1], dtype=torch.int64, device=inputs.device)


def pad_frames(
    features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None, value: float = 0.0
) -> dict[str, Tensor]:
    """`input_features` [batch, time, bins] with their attention_mask, and labels padded with -100."""
    import torch

    from consomme.families.settings import padded

    longest = max(len(f) for f in features)
    frames = torch.full((len(features), longest, features[0].shape[1]), value)
    mask = torch.zeros(len(features), longest, dtype=torch.int64)
    for i, feature in enumerate(features):
        frames[i, : len(feature)] = torch.tensor(feature)
        mask[i, : len(feature)] = 1
    batch = {"input_features": frames, "attention_mask": mask}
    if labels is not None:
        batch["labels"] = padded(labels, -100)
    return batch
