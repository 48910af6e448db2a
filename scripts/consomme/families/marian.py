"""Marian: an encoder-decoder Transformer for translation, with SentencePiece."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families.base import BART_STACKS, Family, Subwords

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

SENTENCES = 1_000_000  # more than these teach SentencePiece little; every n-th is taken then


@dataclass(frozen=True)
class Marian(Family):
    """See `Family`."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, MarianConfig, MarianTokenizer

        from consomme.common.files import write_json
        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(MarianConfig().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        pieces, spm = _sentencepiece(texts, tokens)
        vocabulary = {piece: i for i, piece in enumerate([*pieces, "<pad>"])}
        pad = vocabulary["<pad>"]
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "vocab.json", vocabulary)
        for name in ("source.spm", "target.spm"):
            (out / name).write_bytes(spm)
        source, target = [*languages, None, None][:2]
        with warnings.catch_warnings():
            _hush()
            processor = MarianTokenizer(
                source_spm=str(out / "source.spm"),
                target_spm=str(out / "target.spm"),
                vocab=str(out / "vocab.json"),
                source_lang=source,
                target_lang=target,
                model_max_length=settings["max_position_embeddings"],
            )
        ids = {"pad_token_id": pad, "eos_token_id": vocabulary["</s>"], "bos_token_id": None}
        fixed = {
            **ids,
            "vocab_size": len(vocabulary),
            "decoder_vocab_size": len(vocabulary),
            "decoder_start_token_id": pad,
            "forced_eos_token_id": None,
            "is_encoder_decoder": True,
        }
        model = new_model(self, settings, fixed, seed)
        model.generation_config = GenerationConfig(
            **ids, decoder_start_token_id=pad, bad_words_ids=[[pad]], max_length=settings["max_position_embeddings"]
        )
        save(model, processor, out)

    def processor(self, path: Path) -> Any:
        from transformers import MarianTokenizer

        with warnings.catch_warnings():
            _hush()
            return MarianTokenizer.from_pretrained(path, local_files_only=True)

    def features(self, processor: Any, source: np.ndarray | str) -> np.ndarray:
        import numpy as np

        return np.asarray(_fits(processor, processor(source).input_ids, source), dtype=np.int64)

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        return _fits(processor, processor(text_target=text).input_ids, text)

    def subwords(self, processor: Any, side: str) -> Subwords | None:
        from consomme.families.settings import pieces

        spm = processor.spm_source if side == "source" else processor.spm_target
        separate = side == "target" and processor.separate_vocabs
        vocabulary = processor.target_encoder if separate else processor.encoder
        # partial and not closures: worker processes may get them pickled
        return Subwords(
            *pieces(spm, vocabulary), partial(_spelled, processor, spm), partial(_ids, processor, vocabulary)
        )

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        import torch

        from consomme.families.settings import padded

        ids = padded(features, processor.pad_token_id)
        lengths = torch.tensor([[len(f)] for f in features])
        batch = {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths).long()}
        if labels is not None:
            batch["labels"] = padded(labels, -100)
        return batch

    def generate(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        import torch

        from consomme.families.settings import capped, options_for, to_model

        # the start token takes one position
        options = {"num_beams": 1, **capped(decoding, model.config.max_position_embeddings - 1)}
        with torch.inference_mode():
            ids = model.generate(**to_model(model, batch), **options_for(model, options))
        return [t.strip() for t in processor.batch_decode(ids.tolist(), skip_special_tokens=True)]


def _hush() -> None:
    # sacremoses would only normalise punctuation, and the tokenizer as it is called here does not use it
    warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")


def _spelled(processor: Any, spm: Any, text: str) -> tuple[list[str], str]:
    """The language code before a sentence, as in ">>fr<< Hello", and the text as SentencePiece spells it."""
    code, text = processor.remove_language_code(text)
    return code, spm.normalize(text)


def _ids(processor: Any, vocabulary: Mapping[str, int], tokens: Sequence[str]) -> list[int]:
    unknown = vocabulary[processor.unk_token]
    ids = processor.build_inputs_with_special_tokens([vocabulary.get(token, unknown) for token in tokens])
    return _fits(processor, ids, "".join(tokens))


def _fits(processor: Any, ids: list[int], text: str) -> list[int]:
    if len(ids) > processor.model_max_length:
        raise ConsommeError(
            f"a sentence of {len(ids)} tokens, the model has positions for {processor.model_max_length}: "
            f"'{text[:60]}...'; set max_characters on the corpus"
        )
    return ids


def _sentencepiece(texts: Callable[[], Iterator[str]], settings: Mapping[str, Any]) -> tuple[list[str], bytes]:
    """Train one SentencePiece model on both sides: its pieces by id (0 is </s>, 1 is <unk>), its file's bytes.

    One thread and no sampling inside the trainer: the same texts give the same model."""
    import io

    import sentencepiece

    if settings["type"] not in ("unigram", "bpe"):
        raise ConsommeError(f"tokenizer.type: '{settings['type']}' given; allowed for marian: unigram, bpe")
    total = sum(1 for text in texts() if text.strip())
    if not total:
        raise ConsommeError("tokenizer: there are no training texts; name corpora under data.train")
    step = -(-total // SENTENCES)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(t for i, t in enumerate(t for t in texts() if t.strip()) if i % step == 0),
            model_writer=model,
            model_type=settings["type"],
            vocab_size=settings["vocab_size"],
            hard_vocab_limit=False,
            character_coverage=settings["character_coverage"],
            normalization_rule_name=settings["normalization_rule_name"],
            num_threads=1,
            eos_id=0,
            unk_id=1,
            bos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConsommeError(
            f"tokenizer: SentencePiece can't make {settings['vocab_size']} pieces: {error}; try another vocab_size"
        ) from error
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [trained.id_to_piece(i) for i in range(trained.get_piece_size())], model.getvalue()


FAMILY = Marian(
    name="marian",
    task="nmt",
    objective="seq2seq",
    model_type="marian",
    architecture="MarianMTModel",
    config="MarianConfig",
    stacks=BART_STACKS,
    scratch={
        "d_model": 96,
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 384,
        "decoder_ffn_dim": 384,
        "max_position_embeddings": 512,
        "activation_function": "swish",
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "init_std": 0.02,
    },
    tokenizer={
        "type": "unigram",
        "vocab_size": 1000,
        "character_coverage": 1.0,
        "normalization_rule_name": "nmt_nfkc",
    },
    dropouts=("dropout",),
    exports=("safetensors", "ctranslate2"),
)
