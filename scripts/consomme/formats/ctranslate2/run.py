"""CTranslate2: a C++ engine for encoder-decoder models, with 8-bit weights on processors (Klein et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.formats.base import Asked, Running

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Hypothesis
    from consomme.formats.base import Sources

NAMES = {"num_beams": "beam_size", "length_penalty": "length_penalty"}  # as GenerationConfig calls them -> as it does


class Translator(Running):
    """A translator: sentences in, sentences out."""

    batch = 64

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        import ctranslate2

        super().__init__(folder, languages)
        self.engine: Any = ctranslate2.Translator(str(folder), device=device, intra_threads=threads)

    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        from consomme.families.base import Hypothesis

        languages, decoding = asked.languages, asked.decoding
        tokenizer, most = self.processor, self.most_tokens(decoding)
        tokens = [tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in self.features(sources, languages)]
        # the target's first tokens, such as that of its language, if the family has any: CTranslate2 needs them as prefix
        first = [i for i in self.family.beginning(tokenizer, languages).values() if i is not None]
        prefix = tokenizer.convert_ids_to_tokens(first)
        found = self.engine.translate_batch(
            tokens,
            target_prefix=[prefix] * len(tokens) if prefix else None,
            max_decoding_length=most,
            min_decoding_length=decoding.get("min_new_tokens") or 1,
            max_input_length=0,  # `features` has refused what is too long
            return_end_token=True,
            **options(decoding),
        )
        said = [one.hypotheses[0] for one in found]
        ids = [tokenizer.convert_tokens_to_ids(one) for one in said]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        ends = [bool(one) and one[-1] == tokenizer.eos_token_id for one in ids]
        return [Hypothesis(text.strip(), not end) for text, end in zip(texts, ends, strict=True)]


class Recogniser(Running):
    """Whisper."""

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        import ctranslate2

        super().__init__(folder, languages)
        self.engine: Any = ctranslate2.models.Whisper(str(folder), device=device, intra_threads=threads)

    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        """With `timestamps` the model writes them, and they are those of the segments; with `words` CTranslate2 lays the words
        along the audio, which it encodes once."""
        from consomme.families.base import Hypothesis, Segment
        from consomme.families.whisper_tokens import segments

        if asked.decoding.get("words") and len(sources) > 1:  # one language for all that it lays at once
            return [one for source in sources for one in self.decode([source], asked)]
        languages, decoding = asked.languages, asked.decoding
        tokenizer, most, timed = self.processor.tokenizer, self.most_tokens(decoding), bool(decoding.get("timestamps"))
        features = self.features(sources, languages)
        heard, words = self._heard(features, decoding), bool(decoding.get("words"))
        if words:
            heard = self.engine.encode(heard)
        spoken, earlier = self._spoken(heard, languages, len(sources)), asked.earlier or [()] * len(sources)
        # of one length for all, or CTranslate2 refuses them
        prompts = [[*before, *self._prompt(own, timed)] for before, own in zip(earlier, spoken, strict=True)]
        # a length that is asked for: the end comes when no more tokens are allowed
        forced = [tokenizer.eos_token_id] if decoding.get("min_new_tokens") else []
        found = self.engine.generate(
            heard, prompts, max_length=2 * most, suppress_tokens=[-1, *forced], **options(decoding)
        )
        ids = [one.sequences_ids[0] for one in found]
        written = [[i for i in one if i not in tokenizer.timestamps] for one in ids]
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        parts = [[Segment(*part) for part in segments(tokenizer, one)] if timed else [] for one in ids]
        said = [
            Hypothesis(text.strip(), len(one) >= most, own) for text, one, own in zip(texts, ids, parts, strict=True)
        ]
        if not words:
            return said
        return [self._worded(one, heard, self._prompt(spoken[0], True), len(features[0])) for one in said]

    def _worded(self, said: Hypothesis, heard: Any, prompt: Sequence[int], frames: int) -> Hypothesis:
        """The hypothesis with its words. heard: the encoder's output for this one audio, of so many frames."""
        from consomme.families import whisper_words

        family: Any = self.family
        tokenizer, extractor = self.processor.tokenizer, self.processor.feature_extractor
        audio = whisper_words.Audio(frames, frames, extractor.hop_length / extractor.sampling_rate)
        smoothed = self.model.config.median_filter_width

        def starts(first: int, last: int, ids: Sequence[int]) -> list[int]:
            (found,) = self.engine.align(heard, prompt, [ids], [last], median_filter_width=smoothed)
            begun: dict[int, int] = {}
            for token, frame in found.alignments:
                begun.setdefault(token, frame)
            return [begun[token] for token in range(len(ids) + 1)]

        return whisper_words.with_words(said, audio, tokenizer, partial(family.said, tokenizer), starts)

    def _heard(self, features: Sequence[np.ndarray], decoding: Mapping[str, Any]) -> Any:
        import ctranslate2
        import numpy as np

        window = self.window(decoding).fitting(features)
        batch = self.family.collate(self.processor, features, None, **window)
        return ctranslate2.StorageView.from_array(
            np.ascontiguousarray(batch["input_features"].numpy(), dtype=np.float32)
        )

    def _spoken(self, heard: Any, languages: Sequence[str], count: int) -> list[Sequence[str]]:
        """The language of each source; detected where none is given and the model is of several."""
        if languages or self.processor.tokenizer.english_only:
            return [languages] * count
        return [[found[0][0].strip("<|>")] for found in self.engine.detect_language(heard)]

    def _prompt(self, languages: Sequence[str], timestamps: bool) -> list[int]:
        """The start token and what follows before the text; without its last, the model writes timestamps."""
        prompt = self.family.opening(self.processor, (), languages)
        return prompt[:-1] if timestamps else prompt


def options(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The decoding settings as CTranslate2 calls them."""
    return {"beam_size": 1} | {NAMES[k]: v for k, v in decoding.items() if k in NAMES and v is not None}


def load(folder: Path, languages: Sequence[str], threads: int, device: str) -> Running:
    """The export in `folder`."""
    from consomme.common.model_files import SOURCE
    from consomme.families import family_of

    kind = Translator if family_of(folder / SOURCE).task == "nmt" else Recogniser
    return kind(folder, languages, threads, device)
