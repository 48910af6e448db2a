"""`consomme init`: a configuration for one's own data."""

import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from consomme.cli import app
from consomme.init.data import look
from consomme.init.settings import visible
from consomme.plan.load import read
from consomme.plan.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8"))
REAL = ROOT.parent / "shared/real"

ASR = ["--task", "asr", "--language", "sv", "--train", "train.tsv", "--dev", "dev.tsv", "--test", "test.tsv"]
NMT = ["--task", "nmt", "--language", "en", "--language", "fr", "--train", "train", "--dev", "dev", "--test", "test"]
GENERAL = {
    "asr": ["--general-dev", "other-dev.tsv", "--general-test", "other-test.tsv"],
    "nmt": ["--general-dev", "other-dev", "--general-test", "other-test"],
}
BASES = {
    "asr": [None, "openai/whisper-small", "facebook/wav2vec2-xls-r-300m", "someone/unheard-of"],
    "nmt": [None, "Helsinki-NLP/opus-mt-en-fr", "google/flan-t5-small", "someone/unheard-of"],
}


def init(*arguments):
    """What is printed and the exit status."""
    result = CliRunner().invoke(app, ["init", *map(str, arguments)], catch_exceptions=False)
    return result.output, result.exit_code


def written(*arguments):
    """The configuration that these options make, loaded as a run loads it; it is checked against the schema."""
    printed, status = init(*arguments, "--out", "mine.yaml", "--force")
    assert status == 0, printed
    raw = yaml.safe_load(Path("mine.yaml").read_text())
    spelt = json.loads(json.dumps(raw).replace('"true": "', '"on": "'))  # YAML's `on`
    jsonschema.validate(spelt, SCHEMA)
    return read(["mine.yaml"])["experiments"]["mine"], Plan(read(["mine.yaml"]))


def scored(raw, plan):
    study = plan.studies["mine"]
    return {claim["model"] for claim in study.claims} | {claim["against"] for claim in study.claims}


@pytest.mark.parametrize(("base", "goal"), list(itertools.product(BASES["asr"], ["best", "small", "balanced"])))
def test_speech_plans_whatever_the_base_and_the_goal(speech, base, goal):
    _every_goal_plans(ASR, GENERAL["asr"], base, goal)


@pytest.mark.parametrize(("base", "goal"), list(itertools.product(BASES["nmt"], ["best", "small", "balanced"])))
def test_translation_plans_whatever_the_base_and_the_goal(pairs, base, goal):
    _every_goal_plans(NMT, GENERAL["nmt"], base, goal)


def _every_goal_plans(options, general, base, goal):
    options = [*options, "--goal", goal, *(["--base", base] if base else []), *(general if goal == "balanced" else [])]
    if goal == "balanced" and base in (None, "facebook/wav2vec2-xls-r-300m"):  # there is nothing to keep
        printed, status = init(*options)
        assert status == 2 and "--base" in printed
        return
    experiment, plan = written(*options)
    verbs = [
        next(verb for verb in ("from", "train", "average", "prune", "export") if verb in node)
        for node in experiment["models"].values()
    ]
    assert {"from", "train", "average", "export"} <= set(verbs)
    assert ("prune" in verbs) == (base != "someone/unheard-of")
    assert plan.studies["mine"].claims and not plan.problems()
    if goal == "small" and "prune" in verbs:
        student = experiment["models"]["small"]
        assert student["distil_from"] == "soup" and experiment["models"]["deployed"]["export"] == "small"
    if goal == "balanced":
        node = experiment["models"]["balanced"]
        assert node["method"] == "interpolate" and node["choose_on"]["general"]["of"] == "base"


def test_what_a_model_from_scratch_lacks_is_said(speech):
    printed, _ = init(*ASR)
    assert "too few for a recogniser from scratch" in printed and "--base" in printed
    assert "too few" in Path("asr-sv.yaml").read_text()
    assert "from scratch" not in init(*ASR, "--base", "openai/whisper-tiny", "--force")[0]


def test_a_file_is_replaced_only_by_force(speech):
    Path("asr-sv.yaml").write_text("mine\n")
    printed, status = init(*ASR)
    assert status == 2 and "asr-sv.yaml" in printed and "--force" in printed
    assert Path("asr-sv.yaml").read_text() == "mine\n"
    assert init(*ASR, "--force")[1] == 0 and Path("asr-sv.yaml").read_text() != "mine\n"


def test_nothing_is_written_of_data_that_is_not_there(speech):
    Path("wav/train-3.wav").unlink()
    printed, status = init(*ASR)
    assert status == 2 and "wav/train-3.wav" in printed and not Path("asr-sv.yaml").exists()


@pytest.mark.parametrize("lacking", ["--dev", "--test"])
def test_development_and_test_sets_are_asked_for_and_why(speech, lacking):
    at = ASR.index(lacking)
    printed, status = init(*ASR[:at], *ASR[at + 2 :])
    assert status == 2 and f"{lacking} is needed" in printed and "speaker" in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--dev", "train.tsv"], "both train.tsv"),
        (["--train", "nowhere.tsv"], "no such file"),
        (["--language", "en"], "--language: asr needs"),
        (["--goal", "balanced", "--base", "openai/whisper-tiny"], "--general-dev is needed"),
        (["--general-dev", "other-dev.tsv"], "belong to --goal balanced"),
        (["--base", "Helsinki-NLP/opus-mt-en-fr"], "translates"),
        (["--base", "./nowhere"], "no such folder"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(speech, change, said):
    printed, status = init(*ASR, *change)
    assert status == 2 and said in printed and list(Path().glob("*.yaml")) == []


def test_columns_of_other_names_are_found(speech):
    for name in ("train", "dev", "test"):
        table = Path(f"{name}.tsv")
        table.write_text(table.read_text().replace("audio\ttext\tspeaker", "filename\tsentence\tspk", 1))
    _, plan = written(*ASR)
    corpus = plan.settings.corpora["train"]
    assert corpus.columns == {"audio": "filename", "text": "sentence", "speaker": "spk"}


def test_a_table_without_a_header_is_refused(speech):
    table = Path("train.tsv")
    table.write_text(table.read_text().split("\n", 1)[1])
    printed, status = init(*ASR)
    assert status == 2 and "first line" in printed


def test_common_voice_and_folders_are_found(here):
    from .conftest import write_recording

    for n in range(6):
        write_recording(here / f"cv/sv/clips/{n}.wav")
        write_recording(here / f"folder/ann/{n}.wav")
        (here / f"folder/ann/{n}.txt").write_text(f"words {n}")
    lines = [f"a{n}\t{n}.wav\twords {n}" for n in range(6)]
    (here / "cv/sv/train.tsv").write_text("\n".join(["client_id\tpath\tsentence", *lines]) + "\n")
    seen = look(Path("cv/sv/train.tsv"), "asr", ["sv"], "--train")
    assert seen.corpus == {"source": "common_voice", "path": "cv/sv", "split": "train"} and seen.rows == 6
    seen = look(Path("folder"), "asr", ["sv"], "--train")
    assert seen.corpus == {"source": "folder", "path": "folder", "pattern": "{folder}/{name}.wav"} and seen.rows == 6
    assert seen.hours == pytest.approx(6 * 0.5 / 3600)


def test_segments_are_measured_and_not_their_recordings(here):
    from .conftest import write_recording

    write_recording(here / "long.wav")
    (here / "m.tsv").write_text("audio\tstart\tend\ttext\nlong.wav\t0\t0.1\tone\nlong.wav\t0.2\t\ttwo\n")
    seen = look(Path("m.tsv"), "asr", ["sv"], "--train")
    assert seen.seconds == pytest.approx([0.1, 0.3])


def test_pairs_in_one_table_with_a_header_and_without(here):
    (here / "plain.tsv").write_text("a house\tune maison\na dog\tun chien\n")
    (here / "named.tsv").write_text("en\tfr\na house\tune maison\n")
    assert look(Path("plain.tsv"), "nmt", ["en", "fr"], "--train").rows == 2
    seen = look(Path("named.tsv"), "nmt", ["en", "fr"], "--train")
    assert seen.rows == 1 and seen.corpus["columns"] == {"source": "en", "target": "fr"}


def test_what_was_seen_is_what_is_there(speech):
    seen = look(Path("train.tsv"), "asr", ["sv"], "--train")
    assert (seen.rows, sum(seen.words), len(seen.speakers), dict(seen.rates)) == (40, 200, 4, {16000: 40})
    assert max(seen.characters) == max(
        len(line.split("\t")[1]) for line in Path("train.tsv").read_text().split("\n")[1:-1]
    )


def test_margins_are_what_the_test_set_can_see(speech):
    _, plan = written(*ASR, "--base", "openai/whisper-tiny")
    claims = len(plan.studies["mine"].claims)
    seen = visible(look(Path("test.tsv"), "asr", ["sv"], "--test"), "wer", claims)
    margins = [claim["margin"] for claim in plan.studies["mine"].claims if claim["hypothesis"] == "keeps"]
    assert margins and all(seen <= margin < seen + 0.5 for margin in margins)
    assert f"difference of {seen:.1f} points of WER" in Path("mine.yaml").read_text()


def test_four_times_the_rows_see_half_the_difference(pairs):
    once = look(Path("test"), "nmt", ["en", "fr"], "--test")
    for language in ("en", "fr"):
        text = Path(f"test.{language}").read_text()
        Path(f"more.{language}").write_text(text * 4)
    more = look(Path("more"), "nmt", ["en", "fr"], "--test")
    assert visible(more, "bleu") == pytest.approx(visible(once, "bleu") / 2)


def test_more_data_trains_longer_up_to_a_limit(pairs):
    steps = []
    for times in (1, 20, 2000):
        for language in ("en", "fr"):
            Path(f"large.{language}").write_text(Path(f"train.{language}").read_text() * times)
        options = [*NMT, "--train", "large", "--base", "Helsinki-NLP/opus-mt-en-fr"]
        steps.append(written(*options)[0]["models"]["tuned"]["max_steps"])
    assert steps[0] < steps[1] < steps[2] == 6000


def test_training_sentences_of_the_test_set_are_left_out_unless_the_data_is_like_that(speech):
    corpora = written(*ASR)[1].settings.corpora
    assert corpora["train"].without == ["dev", "test"]
    table = Path("train.tsv").read_text().split("\n")
    Path("test.tsv").write_text("\n".join([table[0], *table[1:21], ""]))
    corpora = written(*ASR)[1].settings.corpora
    assert corpora["train"].without == [] and "of the training rows have a sentence" in Path("mine.yaml").read_text()


def test_an_encoder_without_a_head_gets_one_and_no_claim_names_it(speech, checkpoint):
    folder = checkpoint(model_type="wav2vec2", architectures=["Wav2Vec2Model"])
    experiment, plan = written(*ASR, "--base", folder)
    assert experiment["models"]["start"]["from"] == {"folder": str(folder), "tokenizer": {"type": "characters"}}
    assert "start" not in scored(experiment, plan)
    checkpoint(model_type="wav2vec2", architectures=["Wav2Vec2ForCTC"])
    experiment, plan = written(*ASR, "--base", folder)
    assert experiment["models"]["base"]["from"] == {"folder": str(folder)} and "base" in scored(experiment, plan)


def test_languages_without_spaces_are_judged_by_characters(speech, pairs):
    experiment, _ = written(*["ja" if option == "sv" else option for option in ASR])
    assert experiment["metric"] == "cer"


def test_norwegian_is_a_language(speech):
    experiment, _ = written(*["no" if option == "sv" else option for option in ASR])
    assert experiment["languages"] == ["no"]


@pytest.mark.workflow
def test_snakemake_takes_what_was_written(speech):
    written(*ASR, "--goal", "small")
    command = [sys.executable, "-m", "consomme", "run", "mine.yaml", "--", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"prune_model", "export_model", "report_experiment"} <= set(re.findall(r"\w+", done.stdout + done.stderr))


@pytest.mark.skipif(not (REAL / "nonnative").is_dir(), reason="no real recordings beside the clone")
def test_real_recordings(here):
    rows = (REAL / "nonnative/nonnative.tsv").read_text().split("\n")[1:-1]
    for name, folds in {"train": "012345", "dev": "67", "test": "89"}.items():
        chosen = [row.split("\t") for row in rows if row.split("\t")[6] in folds]
        lines = [f"{REAL}/nonnative/{audio}\t{text}\t{speaker}" for _, audio, text, speaker, *_ in chosen]
        Path(f"{name}.tsv").write_text("\n".join(["audio\ttext\tspeaker", *lines]) + "\n")
    options = ["en" if option == "sv" else option for option in ASR]
    experiment, plan = written(*options, "--base", "openai/whisper-tiny.en", "--goal", "small")
    seen = look(Path("test.tsv"), "asr", ["en"], "--test")
    assert 0.9 < seen.hours < 1.2 and len(seen.speakers) == 50 and math.isclose(visible(seen, "wer"), 1, abs_tol=0.2)
    assert experiment["models"]["tuned"]["window"] == "short" and not plan.problems()


@pytest.mark.skipif(not (REAL / "libreoffice-en-fr").is_dir(), reason="no real sentence pairs beside the clone")
def test_real_pairs(here):
    folder = REAL / "libreoffice-en-fr"
    options = [*NMT[:6], *(part for name in ("train", "dev", "test") for part in (f"--{name}", folder / name))]
    _, plan = written(*options, "--base", "Helsinki-NLP/opus-mt-en-fr")
    assert plan.settings.corpora["train"].path == str(folder / "train")


def test_recordings_that_are_too_long_do_not_stop_the_run(speech):
    """Two of 40 are, more than a corpus lets go by default."""
    for n in (0, 1):
        soundfile.write(speech / f"wav/train-{n}.wav", np.full(31 * 16_000, 0.01), 16_000)
    written(*ASR, "--base", "openai/whisper-small")
    assert read(["mine.yaml"])["corpora"]["train"]["max_skipped"] == 0.06
