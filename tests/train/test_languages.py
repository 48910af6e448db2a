"""One model, several languages: what a training makes of rows that differ in theirs."""

import types

import pyarrow as pa
import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.data.prepared import Rows
from consomme.families import family_named
from consomme.train.assemble import batches_of, read
from consomme.train.examples import Companions, Corpus
from consomme.train.stage import run

SAID = [("the cat sat", "le chat est assis"), ("hello world", "bonjour le monde")] * 4


def told(folder, **columns):
    """A prepared corpus with columns of languages beside its others."""
    table = pa.ipc.open_file((folder / "rows.arrow").read_bytes()).read_all()
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder


def opened(made, name):
    family, parent = family_named(name), made.inputs["parent/base"]
    processor = family.processor(parent, made.spec["languages"])
    model = types.SimpleNamespace(config=types.SimpleNamespace(max_position_embeddings=100, max_target_positions=100))
    return family, processor, read(made, family, processor, model, parent)


def test_features_and_labels_of_a_translator_carry_the_codes_of_each_row(tmp_path, job, sentences, folders):
    pairs = told(
        sentences(tmp_path / "pairs", 8, 0, SAID),
        source_language=["en"] * 4 + ["de"] * 4,
        target_language=["fr", "sv"] * 4,
    )
    _, processor, corpora = opened(job(tmp_path, folders("m2m_100"), {"c": pairs}), "m2m_100")
    code = processor.lang_code_to_token
    first = [
        processor.convert_ids_to_tokens([int(f[0]), int(labels[0])])
        for f, labels in zip(corpora["c"].features, corpora["c"].labels, strict=True)
    ]
    assert first[:2] == [[code["en"], code["fr"]], [code["en"], code["sv"]]]
    assert first[4:6] == [[code["de"], code["fr"]], [code["de"], code["sv"]]]


def test_a_translator_trains_on_batches_that_mix_directions(tmp_path, job, sentences, folders):
    there = told(
        sentences(tmp_path / "there", 8, 0, SAID), source_language=["en"] * 8, target_language=["fr", "sv"] * 4
    )
    back = sentences(tmp_path / "back", 8, 0, [pair[::-1] for pair in SAID])
    write_json(back / "prepared.json", read_json(back / "prepared.json") | {"languages": ["fr", "en"]})
    made = job(
        tmp_path, folders("m2m_100"), {"there": there, "back": back}, max_steps=2, dev={"dev": back}, eval_steps=2
    )
    made.spec["temperature"] = 5.0
    run(made)
    assert read_json(tmp_path / "out" / "provenance.json")["steps"] == 2


@pytest.mark.parametrize(("spoken", "named"), [(["fr"] * 4, "fr"), (["fr", "en", "fr", "sv"], None)])
def test_a_tuned_whisper_names_its_one_language_and_else_none(tmp_path, job, speech, folders, spoken, named):
    clips = told(speech(tmp_path / "clips", 4, 0, ["abcd", "dcba", "badc", "cab"]), language=spoken)
    made = job(tmp_path, folders("whisper"), {"c": clips}, max_steps=1, per_device_train_batch_size=4)
    _, processor, corpora = opened(made, "whisper")
    tokens = [processor.tokenizer.convert_ids_to_tokens(int(labels[0])) for labels in corpora["c"].labels]
    assert tokens == [f"<|{language}|>" for language in spoken]
    run(made)
    config = read_json(tmp_path / "out" / "generation_config.json")
    assert (config.get("language"), config["task"]) == (named, "transcribe")


def test_what_old_checkpoints_force_gives_way(tmp_path, folders):
    """Their generation_config.json, or config.json, may force the tokens of a language that they were tuned to."""
    whisper = family_named("whisper")
    forced = {"forced_decoder_ids": [[1, 50265], [2, 50359]]}
    write_json(tmp_path / "config.json", {"model_type": "whisper", **forced})
    write_json(
        tmp_path / "generation_config.json", {"lang_to_id": {"<|fr|>": 1, "<|en|>": 2}, "num_beams": 5, **forced}
    )
    whisper.name_languages(tmp_path, {("fr",), ("en",)})
    assert read_json(tmp_path / "config.json") == {"model_type": "whisper"}
    assert set(read_json(tmp_path / "generation_config.json")) == {"lang_to_id", "num_beams", "task"}
    whisper.name_languages(tmp_path, {("fr",)})
    assert read_json(tmp_path / "generation_config.json")["language"] == "fr"
    whisper.name_languages(tmp_path, ())
    assert "language" not in read_json(tmp_path / "generation_config.json")
    english = {"is_multilingual": False, "forced_decoder_ids": [[1, 50362]]}
    write_json(tmp_path / "generation_config.json", english)
    whisper.name_languages(tmp_path, {("en",)})
    assert read_json(tmp_path / "generation_config.json") == english


def test_rows_whose_language_no_token_stands_for_are_left_out_and_counted(tmp_path, job, speech, folders):
    clips = told(speech(tmp_path / "clips", 4, 0, ["abcd", "dcba", "badc", "cab"]), language=["fr", "xx", "en", "xx"])
    made = job(tmp_path, folders("whisper"), {"c": clips}, max_steps=1)
    _, _, corpora = opened(made, "whisper")
    reason = "languages: 'xx' is unknown"
    assert corpora["c"].left_out == {reason: ["row0001", "row0003"]} and corpora["c"].usable.tolist() == [0, 2]
    run(made)
    assert reason in str(read_json(tmp_path / "out" / "provenance.json")["left_out"])


def test_a_corpus_of_which_no_row_has_a_token_is_an_error_that_lists_the_languages(tmp_path, job, speech, folders):
    clips = told(speech(tmp_path / "clips", 2, 0, ["abcd", "dcba"]), language=["xx", "yy"])
    with pytest.raises(ConsommeError, match=r"'(xx|yy)' is unknown: allowed for this whisper: .*fr"):
        opened(job(tmp_path, folders("whisper"), {"c": clips}), "whisper")


def test_only_rows_of_one_language_are_joined(tmp_path, speech):
    clips = told(speech(tmp_path / "clips", 6, 0, ["a", "b", "c", "d", "aa", "bb"]), language=["fr", "en"] * 3)
    rows = Rows.open([clips])
    corpus = types.SimpleNamespace(rows=rows, usable=torch.arange(6).numpy(), languages=rows.languages())
    number, those = Companions(corpus).of(2)
    assert those(range(number)) == [0, 4]


def test_a_batch_draws_by_temperature_from_the_languages_of_the_rows(tmp_path, job, speech, folders):
    texts = ["".join("abcd"[(i >> k) & 3] for k in (0, 2, 4)) for i in range(40)]
    clips = told(speech(tmp_path / "clips", 40, 0, texts), language=["fr"] * 32 + ["en"] * 8)
    made = job(tmp_path, folders("whisper"), {"c": clips})
    _, _, corpora = opened(made, "whisper")
    assert isinstance(corpora["c"], Corpus)
    drawn = [
        corpora["c"].languages[row]
        for batch in batches_of({**made.spec, "temperature": 100.0}, corpora, 1)
        for _, _, row in batch
    ]
    assert abs(drawn.count(("fr",)) - 20) <= 1 and abs(len(drawn) - 40) <= 1


def test_a_whisper_of_several_languages_is_asked_by_others_as_it_was_trained(tmp_path, folders):
    """transformers' own first tokens: a language that it detects, then the task. It leaves the task out if none is named."""
    import shutil

    import transformers

    folder = tmp_path / "several"
    shutil.copytree(folders("whisper"), folder)
    family_named("whisper").name_languages(folder, {("fr",), ("en",)})
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    heard = processor(torch.randn(16000).numpy(), sampling_rate=16000, return_tensors="pt").input_features
    first = model._retrieve_init_tokens(heard, 1, model.generation_config, model.config, heard.shape[-1], {})
    tokens = processor.tokenizer.convert_ids_to_tokens(first[0])
    assert tokens[0] == "<|startoftranscript|>" and tokens[2:] == ["<|transcribe|>", "<|notimestamps|>"]
    assert tokens[1] in model.generation_config.lang_to_id
