"""M2M100 and NLLB: many languages, the target's named by the first token of the translation (Fan et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.families import subwords
from consomme.families.base import BART_STACKS
from consomme.families.codes import code_of
from consomme.families.translation import Multilingual, Scratch

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3, as the config has them by default


@dataclass(frozen=True)
class M2M100(Multilingual):
    """See `Family`. A fetched checkpoint may have NLLB's tokenizer; from scratch it is M2M100's."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, M2M100Config, M2M100Tokenizer
        from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

        from consomme.common.files import write_json
        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(M2M100Config().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        known = dict.fromkeys(FAIRSEQ_LANGUAGE_CODES["m2m100"], 0)
        source, target = (code_of(language, known, self.name) for language in languages)
        pieces, spm = subwords.sentencepiece(texts, tokens, self.name, ("unigram", "bpe"))
        vocabulary = {piece: i for i, (piece, _) in enumerate(subwords.behind(SPECIAL, pieces))}
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "vocab.json", vocabulary)
        (out / "sentencepiece.bpe.model").write_bytes(spm)
        processor = M2M100Tokenizer(
            str(out / "vocab.json"),
            str(out / "sentencepiece.bpe.model"),
            src_lang=source,
            tgt_lang=target,
            num_madeup_words=0,
            additional_special_tokens=[f"__{code}__" for code in known],
            model_max_length=settings["max_position_embeddings"],
        )
        model = new_model(self, settings, {"vocab_size": len(vocabulary) + len(known)}, seed)
        model.generation_config = GenerationConfig(
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            forced_bos_token_id=processor.get_lang_id(target),
            max_length=settings["max_position_embeddings"],
        )
        save(model, processor, out)


FAMILY = M2M100(
    name="m2m_100",
    task="nmt",
    objective="seq2seq",
    model_type="m2m_100",
    published=("m2m100", "nllb", "m2m_100"),
    architecture="M2M100ForConditionalGeneration",
    config="M2M100Config",
    stacks=BART_STACKS,
    scratch=Scratch,
    tokenizer=subwords.SentencePiece,
    dropouts=("dropout",),
    optional=("embed_positions.weights",),  # sinusoids, computed anew
    exports=("safetensors", "ctranslate2", "onnx"),
    languages=True,
    told=True,
    trimmed=True,
)
