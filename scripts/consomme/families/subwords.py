"""Subwords learnt from the training texts: by SentencePiece, and byte pairs by the tokenizers library.

The same texts give the same subwords: one thread, no sampling inside the trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.families import keys

SENTENCES = 1_000_000  # more than these teach SentencePiece little; every n-th is taken then
END, UNKNOWN = "</s>", "<unk>"  # the pieces that SentencePiece gives the ids 0 and 1 here
SPACE = "▁"


class Unigram(Section):
    """Subwords by SentencePiece of texts as they stand."""

    type: keys.Kind = "unigram"
    vocab_size: keys.Pieces = 1000
    character_coverage: keys.Coverage = 1.0


class SentencePiece(Unigram):
    """Subwords by SentencePiece of normalised texts."""

    normalization_rule_name: keys.Rule = "nmt_nfkc"


class BytePairs(Section):
    """Byte pairs by the tokenizers library."""

    type: keys.Kind = "bpe"
    vocab_size: keys.Pieces = 300


def sentencepiece(
    texts: Callable[[], Iterator[str]], settings: Mapping[str, Any], family: str, types: Sequence[str]
) -> tuple[list[tuple[str, float]], bytes]:
    """Train one SentencePiece model on all texts: its pieces with their scores by id (0 is </s>, 1 is <unk>), its
    file's bytes. types: what `settings["type"]` may be; without a `normalization_rule_name` texts stay as they are."""
    import io

    import sentencepiece

    _require_type(settings, family, types)
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
            normalization_rule_name=settings.get("normalization_rule_name", "identity"),
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
    pieces = [(trained.id_to_piece(i), trained.get_score(i)) for i in range(trained.get_piece_size())]
    return pieces, model.getvalue()


def behind(special: Sequence[str], pieces: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The special tokens, of score 0, and behind them the pieces that are none: a vocabulary in the order of its ids."""
    return [*((token, 0.0) for token in special), *(p for p in pieces if p[0] not in (END, UNKNOWN, *special))]


def byte_pairs(
    texts: Callable[[], Iterator[str]], settings: Mapping[str, Any], family: str, special: Sequence[str]
) -> Any:
    """A tokenizers.Tokenizer of at most `vocab_size` byte pairs of characters within words, the special tokens before
    them; <unk>, which must be one of those, stands for a character that the texts don't have."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    _require_type(settings, family, ("bpe",))
    if not any(text.strip() for text in texts()):
        raise ConsommeError("tokenizer: there are no training texts; name corpora under data.train")
    found = Tokenizer(models.BPE(unk_token=UNKNOWN))
    found.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    found.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=settings["vocab_size"], special_tokens=list(special), show_progress=False)
    found.train_from_iterator((" ".join(text.split()) for text in texts()), trainer)
    return found


def _require_type(settings: Mapping[str, Any], family: str, types: Sequence[str]) -> None:
    if settings["type"] not in types:
        raise ConsommeError(f"tokenizer.type: '{settings['type']}' given; allowed for {family}: {', '.join(types)}")
