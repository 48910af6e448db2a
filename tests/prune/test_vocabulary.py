"""The vocabulary: which tokens stay, that the model and its tokenizer say the same with fewer, and the stage."""

import json
import subprocess
import sys

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.common.model_files import copy_inherited
from consomme.families import TABLE, family_named, load
from consomme.prune.stage import run
from consomme.prune.tokenizer_files import Pieces, renumbered, staying
from consomme.prune.vocabulary import cut, finish, size_of, vocabulary
from consomme.weights.tensors import Weights
from consomme.weights.zeroed_copy import save

from .test_stage import PROBE, _chosen  # isort: skip

SAID, OTHER = "the cat sat", "hello world, ça va ?"
ABLE = [name for name, family in TABLE.items() if family.trimmed]


class Rows:
    """Rows of one text, source and target alike."""

    def __init__(self, family, text):
        self.task, self.targets, self.sources = family.task, [text], [text]

    def languages(self, default):
        return [tuple(default)]


def trimmed(tiny, folder, text=SAID):
    """The tiny model's checkpoint in `folder`, trimmed to a text; id -> new id."""
    model = load(tiny.folder)
    found = vocabulary(tiny.family, tiny.folder, size_of(model), [Rows(tiny.family, text)], tiny.languages)
    cut(model, found.kept)
    folder.mkdir()
    copy_inherited(tiny.folder, folder)
    save(model, folder, "F32")
    finish(tiny.family, folder, found, tiny.languages)
    return found.new


@pytest.fixture(params=ABLE)
def whole(request, folders, bundle):
    return bundle(request.param, folders(request.param))


def test_what_stays_are_used_pieces_what_they_are_merged_from_and_single_characters():
    ids = {"a": 0, "b": 1, "ab": 2, "abab": 3, "ba": 4, "<0x41>": 5, "bab": 6}
    parts = {"ab": "ab", "abab": ["ab", "ab"], "ba": "ba", "bab": ["ba", "b"]}
    known = Pieces(ids, lambda piece: parts.get(piece, ()))
    assert staying(known, [3], 9) == [0, 1, 2, 3, 5, 7, 8]  # 7 and 8 are no pieces
    assert staying(known, [], 9) == [0, 1, 5, 7, 8]


def test_configs_name_the_new_ids():
    new = {0: 0, 3: 1, 7: 2, 9: 3}
    given = {"vocab_size": 10, "eos_token_id": [7, 9], "pad_token_id": -1, "suppress_tokens": [1, 3], "bad_words_ids": [[9], [2]],
             "lang_to_id": {"<|en|>": 7}, "forced_decoder_ids": [[1, 7], [2, None]], "bos_token_id": None, "d_model": 10,
             "decoder": {"vocab_size": 10, "eos_token_id": 9}}  # fmt: skip
    assert renumbered(given, new, 10) == {
        "vocab_size": 4, "eos_token_id": [2, 3], "pad_token_id": -1, "suppress_tokens": [1], "bad_words_ids": [[3]],
        "lang_to_id": {"<|en|>": 2}, "forced_decoder_ids": [[1, 2], [2, None]], "bos_token_id": None, "d_model": 10,
        "decoder": {"vocab_size": 4, "eos_token_id": 3},
    }  # fmt: skip


def test_tokens_that_stay_have_their_logits_and_any_text_can_be_written(whole, tmp_path):
    new = trimmed(whole, tmp_path / "small")
    small, family = load(tmp_path / "small"), whole.family
    assert size_of(small) == len(new) < size_of(whole.model)
    assert small.config.get_text_config(decoder=True).vocab_size == len(new)
    processor = family.processor(tmp_path / "small", whole.languages)
    before = family.processor(whole.folder, whole.languages)
    for one, text in ((before, SAID), (processor, SAID), (processor, OTHER), (before, OTHER)):
        tokenizer = getattr(one, "tokenizer", one)
        assert tokenizer.decode(family.labels(one, text, whole.languages), skip_special_tokens=True).strip() == text
    labels = family.labels(before, SAID, whole.languages)
    assert family.labels(processor, SAID, whole.languages) == [new[number] for number in labels]
    features = whole.features[:1] if family.task == "asr" else [family.features(before, SAID, whole.languages)]
    fewer = features if family.task == "asr" else [family.features(processor, SAID, whole.languages)]
    with torch.no_grad():
        full = whole.model(**family.collate(before, features, [labels])).logits[..., sorted(new)]
        found = small(**family.collate(processor, fewer, [[new[n] for n in labels]])).logits
    torch.testing.assert_close(found, full, rtol=1e-5, atol=1e-5)


def test_published_whispers_begin_with_a_space_so_the_first_word_stays_behind_one(folders, bundle, tmp_path):
    whole = bundle("whisper", folders("whisper"))
    new = trimmed(whole, tmp_path / "small", "cat")
    first, inside = (whole.processor.tokenizer.tokenize(text) for text in ("cat", " cat"))
    assert inside == ["Ġcat"] and not set(first) & set(inside)
    assert whole.family.labels(whole.processor, " cat", whole.languages)[-2] in new


def test_the_trimmed_model_decodes(whole, tmp_path):
    """In its languages, with the settings of generation that its files have."""
    trimmed(whole, tmp_path / "small", f"{SAID} {OTHER} le chat est assis bonjour le monde")
    small, family = tmp_path / "small", whole.family
    processor = family.processor(small, whole.languages)
    features = whole.features[:1] if family.task == "asr" else [family.features(processor, SAID, whole.languages)]
    batch = family.collate(processor, features, None)
    (said,) = family.generate(load(small), processor, batch, whole.languages, {"max_new_tokens": 8})
    assert isinstance(said, str)


def test_the_stage_trims_to_the_corpora_and_transformers_loads_the_result(job, tmp_path, folders):
    parent = folders("marian")
    run(
        parse(
            job(parent=parent, vocabulary={"keep": "used"}, width={"drop": "1/4", "by": "magnitude"}, texts=["dev"]), ""
        )
    )
    folder = tmp_path / "pruned"
    found = _chosen(folder)["vocabulary"]
    assert found["kept"] < found["of"] == size_of(load(parent))
    assert size_of(load(folder)) == found["kept"]
    done = subprocess.run([sys.executable, "-c", PROBE, folder], check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout.splitlines()[-1])) == 3 * found["kept"]


def test_trimmed_siblings_are_averaged_and_an_untrimmed_one_is_refused(folders, bundle, tmp_path):
    from consomme.weights.compatibility import check

    whole = bundle("marian", folders("marian"))
    for name in ("one", "two"):
        trimmed(whole, tmp_path / name)
    one, two, parent = (Weights(folder, name) for name, folder in
                        (("one", tmp_path / "one"), ("two", tmp_path / "two"), ("whole", whole.folder)))  # fmt: skip
    check([one, two])
    with pytest.raises(ConsommeError, match="one and whole have different vocabularies"):
        check([one, parent])


def test_texts_that_use_everything_and_families_without_subwords_are_refused(job, folders):
    with pytest.raises(ConsommeError, match="there is nothing to prune"):  # its tokenizer was made of these very texts
        run(parse(job(vocabulary={"keep": "used"}, texts=["dev"]), ""))
    with pytest.raises(ConsommeError, match=r"'ctc' has a CTC head.*possible: .*whisper"):
        run(parse(job(parent=folders("ctc"), vocabulary={"keep": "used"}, texts=["dev"]), ""))
    assert not family_named("ctc").trimmed
