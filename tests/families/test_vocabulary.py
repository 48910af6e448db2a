"""A special token's name in a text is a text: it is spelled, and never becomes the token."""

import pytest


def counts(ids, special):
    return {number: list(ids).count(number) for number in special}


def test_no_text_becomes_a_special_token(tiny):
    tokenizer = getattr(tiny.processor, "tokenizer", tiny.processor)
    named = [t for t in tokenizer.all_special_tokens if len(t) > 1 and t != tokenizer.unk_token]
    special = set(tokenizer.convert_tokens_to_ids(named))

    def labels(text):
        return tiny.family.labels(tiny.processor, text, tiny.languages)

    def features(text):
        return tiny.family.features(tiny.processor, text)

    for read in (labels, features) if tiny.family.task == "nmt" else (labels,):
        plain = counts(read("the cat"), special)
        for token in named[:8]:
            assert counts(read(f"the {token} cat"), special) == plain, token
            assert counts(read(token), special) == counts(read(""), special), token
    assert named


def test_a_name_in_a_transcript_is_spelled(bundle, folders):
    tiny = bundle("whisper", folders("whisper"))
    tokenizer, text = tiny.processor.tokenizer, "the <|endoftext|> cat <|fr|>"
    ids = tiny.family.labels(tiny.processor, text, ["en"])
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    ordinary = tiny.family.labels(tiny.processor, "the cat", ["en"])  # the tokenizer is as before
    assert ordinary[3:-1] == tokenizer("the cat", add_special_tokens=False).input_ids


@pytest.mark.parametrize("name", ["wav2vec2", "ctc"])
def test_a_blank_in_a_transcript_is_no_label(bundle, folders, name):
    tiny = bundle(name, folders(name))
    tokenizer = tiny.processor.tokenizer
    assert tokenizer("a<pad>c").input_ids[1] == tokenizer.pad_token_id  # what the tokenizer makes of it by itself
    ids = tiny.family.labels(tiny.processor, "a<pad>c", ["en"])
    assert tokenizer.pad_token_id not in ids
    assert [ids[0], *ids[3:5], ids[-1]] == tokenizer.convert_tokens_to_ids([*"aadc"])
