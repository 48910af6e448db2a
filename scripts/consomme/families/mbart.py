"""mBART: one BART for many languages (Liu et al. 2020); mBART-50 with its own tokenizer (Tang et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.families import keys, subwords, translation
from consomme.families.base import BART_STACKS
from consomme.families.codes import code_of
from consomme.families.translation import Multilingual, codes

if TYPE_CHECKING:
    from torch import Tensor

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3, as the config has them by default
MASK = "<mask>"


class Scratch(translation.Scratch):
    """As its relatives."""

    activation_function: keys.Activation = "gelu"


@dataclass(frozen=True)
class MBart(Multilingual):
    """See `Family`. In mBART's own layout a text ends with the code of its language, and the decoder starts with it; in
    mBART-50's the code comes first, and the decoder starts with the end token."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, MBartConfig, MBartTokenizer
        from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(MBartConfig().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        known = dict.fromkeys(FAIRSEQ_LANGUAGE_CODES, 0)
        source, target = (code_of(language, known, self.name) for language in languages)
        pieces, _ = subwords.sentencepiece(texts, tokens, self.name, ("unigram",))
        vocabulary = [*subwords.behind(SPECIAL, pieces), *((token, 0.0) for token in (*known, MASK))]
        processor = MBartTokenizer(
            vocab=vocabulary, src_lang=source, tgt_lang=target, model_max_length=settings["max_position_embeddings"]
        )
        model = new_model(self, settings, {"vocab_size": len(vocabulary)}, seed)
        model.generation_config = GenerationConfig(
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=codes(processor)[target],
            forced_eos_token_id=2,
            max_length=settings["max_position_embeddings"],
        )
        save(model, processor, out)

    def beginning(self, processor: Any, languages: Sequence[str] = ()) -> dict[str, Any]:
        code = self.target(processor, languages)
        if processor(text_target="").input_ids[-1] == code:
            return {"decoder_start_token_id": code, "forced_bos_token_id": None}
        return {"forced_bos_token_id": code}

    def decoder_inputs(self, model: Any, labels: Tensor) -> Tensor:
        return model.prepare_decoder_input_ids_from_labels(labels)  # the last label goes first


FAMILY = MBart(
    name="mbart",
    task="nmt",
    objective="seq2seq",
    model_type="mbart",
    published=("mbart",),
    architecture="MBartForConditionalGeneration",
    config="MBartConfig",
    stacks=BART_STACKS,
    scratch=Scratch,
    tokenizer=subwords.Unigram,
    dropouts=("dropout",),
    exports=("safetensors", "onnx"),
    languages=True,
    told=True,
    trimmed=True,
)
