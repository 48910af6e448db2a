"""Tables beside the page, the paragraph of methods, and what the scripts of the page are given."""

import csv
import io
import json
import random
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jiwer
import numpy as np
import pytest

from consomme.report import provenance
from consomme.report.outcomes import Outcomes
from consomme.report.page.alignment import alignment
from consomme.report.page.audio import Clips, flac
from consomme.report.page.curves import thinned, training_curves
from consomme.report.page.sentences import sentences
from consomme.report.tables import Tabular, as_csv, as_latex, as_markdown
from consomme.report.words.methods import methods

TABLE = Tabular(["model", "50 % & more"], [["a_b|c", "−1.50"], ['"x", y', "2\u00a0M"]])


def outcomes_of(spec, cache) -> Outcomes:
    return Outcomes(json.loads(json.dumps(spec)), cache)


def test_latex_has_booktabs_rules_and_no_open_commands():
    assert as_latex(TABLE) == (
        "\\begin{tabular}{lr}\n\\toprule\nmodel & 50 \\% \\& more \\\\\n\\midrule\n"
        'a\\_b|c & $-$1.50 \\\\\n"x", y & 2~M \\\\\n\\bottomrule\n\\end{tabular}\n'
    )
    assert r"\textbackslash{}input" in as_latex(Tabular(["x"], [["\\input{/etc/passwd}"]]))


def test_csv_is_read_back_with_plain_numbers():
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["model", "50 % & more"], ["a_b|c", "-1.50"], ['"x", y', "2 M"]]


def test_markdown_keeps_a_bar_inside_of_its_cell():
    assert as_markdown(TABLE).splitlines() == [
        "| model | 50 % & more |", "| --- | ---: |", r"| a\_b\|c | −1.50 |", '| "x", y | 2\u00a0M |',
    ]  # fmt: skip


def test_methods_say_what_was_done(tree, tmp_path):
    for model in tree["models"]:
        path = Path(model["folder"]) / "provenance.json"
        record = json.loads(path.read_text())
        if model["node"] == "tuned" and model["verb"] == "train":
            record |= {
                "train": {"medical-train": 1.0},
                "steps": 400,
                "settings": {"learning_rate": 3e-5, "precision": "bfloat16"},
            }
        if model["name"] == "half":
            record["chosen"] = {"layers": {"encoder": {"dropped": [2, 5]}}}
        path.write_text(json.dumps(record | {"versions": {"torch": "2.11.0"}}))
    tree["decoding"] = {"num_beams": 4, "max_new_tokens": None}
    outcomes = outcomes_of(tree, tmp_path)
    text = methods(outcomes, provenance.records(outcomes), [])
    for part in (
        "tuned was trained from base on medical-train (120 sentence pairs) for 400 steps in 3 runs that differ in learning_rate; "
        "of the first: learning rate 3e-05, bfloat16.",
        "half was pruned from balanced (without layers 2 and 5 of the encoder).",
        "Test sets: medical (120 sentence pairs), general (120 sentence pairs).",
        "Decoding: num_beams 4.",
        "bleu|nrefs:1|case:mixed",
        "All was done 3 times, under the seeds 1, 2 and 3.",
        "Software: torch 2.11.0.",
    ):
        assert part in text, (part, text)


@pytest.mark.parametrize("seed", range(20))
def test_alignments_have_as_few_errors_as_jiwer_counts(seed):
    rng = random.Random(seed)
    wanted, said = (rng.choices("abcd", k=rng.randint(1, 9)) for _ in range(2))
    steps = alignment(wanted, said, str)
    counted = jiwer.process_words(" ".join(wanted), " ".join(said))
    assert sum(step != "=" for step in steps) == counted.substitutions + counted.deletions + counted.insertions
    # every word of either side has its place
    assert sum(step in "=SD" for step in steps) == len(wanted) and sum(step in "=SI" for step in steps) == len(said)


def test_words_that_do_not_count_are_no_errors():
    clean = {"Hello": "hello", ",": "", "-": ""}
    assert alignment(["Hello", ",", "cat"], ["hello", "-", "-", "cat", "sat"], lambda w: clean.get(w, w)) == "=dii=I"


def test_sentences_hold_the_rows_on_which_models_differ_most(build_tree, tmp_path, monkeypatch):
    outcomes = outcomes_of(build_tree(replicates=(1,), count=40), tmp_path)
    whole = sentences(outcomes, "bleu", "base", "healed")
    assert [whole["models"][whole["first"]], whole["models"][whole["last"]]] == ["base", "healed"]

    def spread(row):
        scores = [row["texts"][k][2] for k in row["said"] if k >= 0]
        return max(scores) - min(scores)

    for group in whole["sets"]:
        every = [spread(row) for row in group["rows"]]
        # texts hold scores with one digit
        assert all(a >= b - 0.2 for a, b in pairwise(every)) and 20 < len(every) <= group["n"] == 40
        sheet = outcomes.sheets["healed", "1", "test", group["name"]]
        lines = {r["id"]: r for r in map(json.loads, sheet.path.read_text().splitlines())}
        for row in group["rows"]:
            assert row["texts"][row["said"][whole["last"]]][0] == lines[row["id"]]["hypothesis"]
    monkeypatch.setattr("consomme.report.page.sentences.BYTES", 20_000)
    part = sentences(outcomes, "bleu", "base", "healed")
    for small, large in zip(part["sets"], whole["sets"], strict=True):
        assert 0 < len(small["rows"]) < len(large["rows"]) and small["rows"] == large["rows"][: len(small["rows"])]
    assert len(json.dumps(part)) < 25_000


def test_clips_are_the_recordings_until_there_is_no_more_room():
    import soundfile

    wave = (np.sin(np.arange(8000) / 7) * 12345).astype(np.int16)
    found, rate = soundfile.read(io.BytesIO(flac(wave.astype(np.float32) / np.float32(32768), 16000)), dtype="int16")
    assert rate == 16000 and (found == wave).all()
    rows = SimpleNamespace(sampling_rate=16000, audio=lambda i: wave.astype(np.float32) / np.float32(32768))
    one = len(flac(rows.audio(0), 16000))
    clips = Clips(rows, int(2.5 * one))
    assert [bool(clips.next(i)) for i in range(4)] == [True, True, False, False]


def test_long_curves_are_thinned_by_means():
    assert thinned([(n, float(n)) for n in range(1, 9)], most=4) == [[2, 4, 6, 8], [1.5, 3.5, 5.5, 7.5]]
    assert thinned([(5, 0.123456)]) == [[5], [0.1235]] and thinned([]) == []


def test_curves_have_what_was_logged_and_evaluated(tree, tmp_path):
    model = next(m for m in tree["models"] if m["name"] == "healed" and m["replicate"] == 2)
    lines = [{"step": 4, "loss": 3.0, "learning_rate": 1e-4}, {"step": 8, "loss": float("nan"), "learning_rate": 5e-5}]
    (Path(model["folder"]) / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = {"chosen": {"evaluations": [{"step": 8, "objective": -0.5}]}}
    (Path(model["folder"]) / "provenance.json").write_text(json.dumps(record))
    outcomes = outcomes_of(tree, tmp_path)
    assert training_curves(outcomes, provenance.records(outcomes)) == [
        {"node": "healed", "run": "", "replicate": "2", "loss": [[4], [3.0]], "rate": [[4, 8], [1e-4, 5e-5]], "objective": [[8], [-0.5]]}
    ]  # fmt: skip
