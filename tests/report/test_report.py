"""A whole report of a small tree: tables, links, words, the page."""

import contextlib
import csv
import json
import os
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import pytest

from consomme.common.errors import ConsommeError
from consomme.report.evidence.claims import Comparison, compare
from consomme.report.evidence.questions import declared, exploratory
from consomme.report.evidence.scores import scores
from consomme.report.links import write_links
from consomme.report.numbers import signed
from consomme.report.outcomes import Outcomes
from consomme.report.page.context import context
from consomme.report.page.verdicts import verdict
from consomme.report.words.claims import claim_line, headline, standing, visible_text
from consomme.report.words.summary import summary
from consomme.report.write import write_report
from consomme.results.columns import COMPARISONS, COSTS, GROUPS, SCORES
from consomme.results.frames import frame, number

from .conftest import data_of, prepare, sentences  # isort: skip

OUT = Path("results/medical-translator")
FILES = [
    "scores.tsv",
    "comparisons.tsv",
    "runs.tsv",
    "summary.md",
    "report.html",
    "tables/models.tex",
    "tables/claims.csv",
]


def table(name):
    with open(OUT / name, newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def report(spec):
    spec = json.loads(json.dumps(spec))
    write_report(spec, OUT, Path("results/cache"))
    return spec


@pytest.fixture(scope="module")
def reported(tmp_path_factory, builder):
    """A tree with its report, made once; the tests of it only read."""
    folder = tmp_path_factory.mktemp("reported")
    with contextlib.chdir(folder):
        return folder, report(builder(folder))


@pytest.fixture
def written(reported, monkeypatch):
    monkeypatch.chdir(reported[0])
    return reported[1]


def test_files_are_the_same_bytes_again(written):
    first = {name: (OUT / name).read_bytes() for name in FILES}
    report(written)
    assert {name: (OUT / name).read_bytes() for name in FILES} == first


def test_scores(written):
    rows = table("scores.tsv")
    assert list(rows[0]) == SCORES.names
    assert len(rows) == len(written["models"]) * 4 * 2
    assert rows == sorted(rows, key=lambda r: [r[c] for c in ("model", "replicate", "split", "set", "metric")])
    for row in rows:
        assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
        assert Path(row["path"]).exists() and row["n"] == "120"
        assert re.fullmatch(r"\d+\.\d{4}", row["value"])
    base = next(r for r in rows if r["model"] == "base" and r["set"] == "medical" and r["split"] == "test")
    from sacrebleu.metrics import BLEU

    lines = [json.loads(line) for line in Path(base["path"]).read_text().splitlines()]
    whole = BLEU().corpus_score([x["hypothesis"] for x in lines], [[x["reference"] for x in lines]]).score
    assert float(base["value"]) == pytest.approx(whole, abs=1e-4)


def test_comparisons(written):
    rows = table("comparisons.tsv")
    assert list(rows[0]) == COMPARISONS.names
    claims = [r for r in rows if r["claim"] != "exploratory"]
    assert [r["claim"] for r in claims] == ["1", "2", "3", "4"]
    assert all(float(r["p_holm"]) >= float(r["p"]) >= float(r["p_models"]) for r in claims)
    assert all(len(r["each"].split()) == 3 and float(r["visible"]) > 0 and r["verdict"] for r in claims)
    assert {(r["units"], r["unit"]) for r in claims} == {("60", "documents"), ("120", "rows")}
    others = [r for r in rows if r["claim"] == "exploratory"]
    assert others and all(r["p_holm"] == "" and "*" not in "".join(r.values()) for r in others)
    assert claims[2]["margin"] == "12.0000" and claims[0]["margin"] == ""
    assert "60 documents" in claims[0]["method"]  # two sentences of each
    assert claims[0]["replicates"] == "3"
    asked = {(r["model"], r["against"], r["set"]) for r in others}
    assert ("healed", "base", "medical") in asked and ("balanced", "tuned/best", "general") in asked
    assert ("balanced", "base", "medical") not in asked  # declared already
    assert not any("=" in r["model"] for r in others)


def test_a_clear_gain_is_shown_and_a_clear_loss_refuted(written):
    rows = {r["claim"]: r for r in table("comparisons.tsv")}
    assert float(rows["2"]["difference"]) > 10 and float(rows["2"]["p_holm"]) < 0.05
    words = (OUT / "summary.md").read_text()
    assert "**balanced beats base on medical** — shown for the method, balanced is better" in words
    assert "**healed keeps balanced on medical within 1** — refuted" in words


def test_the_summary_fits_a_screen(build_tree):
    claim = {"model": "soup", "hypothesis": "beats", "against": "base", "on": "medical"}
    spec = build_tree(claims=[claim] * 40, replicates=(1,), count=30)
    report(spec)
    text = (OUT / "summary.md").read_text()
    assert len(text.splitlines()) <= 24
    assert "more claims in comparisons.tsv" in text
    assert "One replicate" in text
    assert "Fewer than 20 independent units" in text
    assert "Only 15 independent units (documents)" in text
    assert "shown for the method" not in text.replace("None of 40 claims is shown for the method", "")
    assert "three " in text and "eight " in text  # what more replicates could show
    assert "few units" in table("comparisons.tsv")[0]["method"]


def test_the_language_decides_what_is_counted_and_finds_its_own_counts(build_tree):
    spec = build_tree(claims=[], replicates=(1,), count=20)
    values, signatures, said = {}, {}, {}
    for target in ("fr", "th", "fr"):
        report(spec | {"languages": ["en", target]})
        rows = [r for r in table("scores.tsv") if r["metric"] == "bleu"]
        values.setdefault(target, []).append([r["value"] for r in rows])
        signatures[target] = {r["signature"] for r in [*rows, *table("comparisons.tsv")]}
        said[target] = (OUT / "summary.md").read_text(), (OUT / "report.html").read_text()
    assert values["fr"][0] == values["fr"][1] != values["th"][0]
    assert [len(found) for found in signatures.values()] == [1, 1]
    assert "|tok:13a|" in signatures["fr"].pop() and "|tok:char|" in signatures["th"].pop()
    assert all("BLEU cuts th into characters, not at spaces" in text for text in said["th"])
    assert "|tok:char|" in said["th"][1]
    assert not any("not at spaces" in text for text in said["fr"])


def test_without_claims(build_tree):
    report(build_tree(claims=[], replicates=(1,), count=20))
    assert "No claim was declared" in (OUT / "summary.md").read_text()
    assert {r["claim"] for r in table("comparisons.tsv")} == {"exploratory"}


def test_sets_stand_in_the_order_of_the_claims(build_tree, tmp_path):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    both = [{"model": "soup", "hypothesis": "beats", "against": "base", "on": name} for name in ("medical", "general")]
    for claims in (both, both[::-1]):
        assert Outcomes({**spec, "claims": claims}, tmp_path).sets("test") == [claim["on"] for claim in claims]
    assert Outcomes({**spec, "claims": both[:1]}, tmp_path).sets("dev")[0] == "medical"


def test_what_a_claim_may_not_say(build_tree, tmp_path):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    for change, words in (
        ({"model": "soop"}, "did you mean 'soup'"),
        ({"on": "medicine"}, "test sets: general, medical"),
        ({"hypothesis": "keeps", "margin": None}, "needs a margin"),
        ({"metric": "loss"}, "can't be counted from hypotheses"),
    ):
        claim = {"model": "soup", "hypothesis": "beats", "against": "base", "on": "medical"} | change
        with pytest.raises(ConsommeError, match=re.escape(words)):
            declared(Outcomes({**spec, "claims": [claim]}, tmp_path))


def test_hypotheses_of_other_rows_are_refused(build_tree, tmp_path):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    soup = next(m for m in spec["models"] if m["name"] == "soup")
    index = json.loads(Path(soup["evaluation"]).read_text())
    for entry in index["sets"]:
        entry["fingerprint"] = "another"
    Path(soup["evaluation"]).write_text(json.dumps(index))
    outcomes = Outcomes(spec, tmp_path / "cache")
    with pytest.raises(ConsommeError, match="different rows"):
        compare(outcomes, declared(outcomes))


@pytest.mark.parametrize(("documents", "units"), [("others", 40), ("the same", 20)])
def test_replicates_with_rows_of_their_own(build_tree, tmp_path, documents, units):
    """Rows of the same documents are no independent evidence."""
    spec = json.loads(json.dumps(build_tree(replicates=(1, 2), count=40)))
    rows = sentences("medical-test", 40, 4, documents=20)
    for row in rows:
        row["document"] += " of the second" * (documents == "others")
    prepare(Path("results/data/second"), "second", rows)
    spec["corpora"]["second"] = "results/data/second"
    for model in spec["models"]:
        if model["replicate"] == 2:
            index = json.loads(Path(model["evaluation"]).read_text())
            for entry in index["sets"]:
                if entry["corpora"] == ["medical-test"]:
                    entry |= {"corpora": ["second"], "fingerprint": "second"}
            Path(model["evaluation"]).write_text(json.dumps(index))
    outcomes = Outcomes(spec, tmp_path / "cache")
    found = compare(outcomes, declared(outcomes)[:1])[0]
    assert found.units == units
    assert found.difference == pytest.approx(sum(d for _, d in found.by_replicate) / 2)


def test_exploration_is_of_named_models_only(tree, tmp_path):
    questions = exploratory(Outcomes(json.loads(json.dumps(tree)), tmp_path))
    assert {q.model for q in questions} == {"soup", "balanced", "half", "healed", "tuned/best"}


def test_links(written):
    current = OUT / "current"
    assert {p.name for p in current.iterdir()} == {"1", "2", "3"}
    runs = {p.name for p in (current / "2/tuned").iterdir()}
    assert runs == {"best", "learning_rate=1e-05", "learning_rate=3e-05", "learning_rate=0.0001"}
    model = next(m for m in written["models"] if m["name"] == "soup" and m["replicate"] == 3)
    link = current / "3/soup"
    assert link.is_symlink() and not os.path.isabs(os.readlink(link))
    assert link.resolve() == Path(model["folder"]).resolve()


def test_links_follow_the_graph(tree):
    models = [m for m in tree["models"] if m["replicate"] == 1]
    (OUT / "current").mkdir()
    (OUT / "current/gone").symlink_to("../models/none")
    (OUT / "current/tuned").symlink_to("../models/none")  # a node that had no runs before
    write_links(models, OUT, [1])
    assert not (OUT / "current/gone").is_symlink()
    assert os.readlink(OUT / "current/soup").startswith("../models/soup-")
    assert (OUT / "current/tuned/best/provenance.json").exists()
    write_links([m for m in models if m["node"] != "tuned"], OUT, [1])
    assert not (OUT / "current/tuned").exists()
    before = {p: p.lstat().st_ino for p in (OUT / "current").iterdir()}
    write_links([m for m in models if m["node"] != "tuned"], OUT, [1])
    assert {p: p.lstat().st_ino for p in (OUT / "current").iterdir()} == before
    write_links([dict(models[0], folder="results/medical-translator/models/not-made")], OUT, [1])
    assert not list((OUT / "current").iterdir())


def test_runs_table(written):
    rows = table("runs.tsv")
    assert len(rows) == len(written["models"])
    assert list(rows[0])[:7] == ["name", "node", "run", "verb", "replicate", "digest", "folder"]
    run = next(r for r in rows if r["name"] == "tuned/learning_rate=1e-05")
    assert run["learning_rate"] == "1e-05" and run["node"] == "tuned"


def test_a_swept_key_named_like_a_column_leaves_the_column_alone():
    from consomme.report.links import runs

    model = {"name": "given/a", "node": "given", "run": "a", "verb": "from", "replicate": "1", "digest": "d"}
    found = runs([model | {"folder": "results/e/models/given-d", "swept": {"folder": "a", "name": "x"}}])
    assert found.loc[0, ["name", "folder", "swept.folder", "swept.name"]].tolist() == [
        "given/a", "results/e/models/given-d", "a", "x",
    ]  # fmt: skip


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.ids, self.hrefs, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.sources += [v for k, v in attrs.items() if k in ("src", "srcset") or (tag == "link" and k == "href")]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.hrefs += [attrs["href"]] if tag == "a" else []


def test_the_page_stands_alone_and_answers_first(written):
    text = (OUT / "report.html").read_text()
    page = Page(text)
    assert page.sources == []
    assert len(page.ids) == len(set(page.ids))
    assert all(h.startswith("#") and h[1:] in page.ids for h in page.hrefs)
    body = re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    assert (
        body.index("1 of 4 claims is shown for the method") < body.index('id="models"') < body.index('id="provenance"')
    )
    assert "@import" not in text and "url(http" not in text
    assert body.index("Take balanced: it beats base") < body.index("1 of 4 claims is shown for the method")
    # all but the answer is folded, and the contents lead to each part
    parts = re.findall(r'<details class="part" id="(\w+)"', text)
    assert parts == [h[1:] for h in page.hrefs if h[1:] in parts][-len(parts) :] and "<h2" in text
    for part in ("pareto", "costs", "choice", "sentences", "evidence", "overlap"):
        assert part in page.ids
    assert not {"domains", "settings", "training"} & set(page.ids)  # nothing of the kind is in the tree
    assert "bleu|nrefs:1" in text
    charts = data_of(text, "charts")
    assert {"pareto", "pareto_dev", "parameters_0", "speed_1", "choice_0"} <= charts.keys()


def test_merged_specialists_and_chosen_settings_stand_on_the_page(build_tree):
    spec = json.loads(json.dumps(build_tree(replicates=(1, 2), count=20, claims=[])))
    for model in spec["models"]:
        if model["name"] in ("healed", "balanced"):
            model["parents"] = ["base"] if model["name"] == "healed" else ["tuned/best", "healed"]
        if model["name"] == "balanced":
            path = Path(model["folder"]) / "provenance.json"
            row = {"set": "medical", "metric": "loss", "admissible": True}
            curve = [row | {"candidate": f"scale={s}", "value": s, "chosen": s == model["replicate"]} for s in (1, 2)]
            path.write_text(json.dumps({"chosen": {"settings": {"scale": 1}, "curve": curve}}))
    for trained in spec["train"].values():
        trained["healed"] = ["general-dev"]
    report(spec)
    text = (OUT / "report.html").read_text()
    assert {"domains", "settings"} <= set(Page(text).ids)
    merged = text[text.index('id="domains"') : text.index('id="settings"')]
    # no specialist is better than the base on the general set, so it has no shares
    cells = r"<td class=\"n\">([0-9.]+)<small>([0-9.]* ?%?)</small></td>" * 2
    (shown,) = re.findall(rf"<td>balanced</td><td class=\"soft\">merged</td>{cells}<td class=\"n\">(.*?)</td>", merged)
    assert shown[1] == "" and float(shown[3].removesuffix(" %")) > 0 and shown[4] == shown[3]
    assert re.findall(r"<tr><td>([a-z/]+)</td>", merged) == ["base", "tuned/best", "healed", "balanced"]
    tried = text[text.index('id="settings"') : text.index('id="sentences"')]
    assert re.findall(r"<td>(scale=.)</td><td class=\"n\">([0-9.]+)</td><td><b>(.*?)</b>", tried) == [
        ("scale=1", "1.0000", "chosen in 1 of 2"),
        ("scale=2", "2.0000", "chosen in 1 of 2"),
    ]


def test_the_median_run_stands_beside_the_best(written):
    rows = table("scores.tsv")
    values = {
        replicate: sorted(
            float(r["value"])
            for r in rows
            if r["model"].startswith("tuned/learning_rate=")
            and (r["replicate"], r["split"], r["set"], r["metric"]) == (replicate, "test", "medical", "bleu")
        )
        for replicate in {r["replicate"] for r in rows}
    }
    median = sum(statistics.median(v) for v in values.values()) / len(values)
    runs = len(next(iter(values.values())))
    page = (OUT / "report.html").read_text()
    line = re.search(rf"tuned, median of {runs} runs</td>.*", page)[0]
    assert runs > 1 and f">{median:.2f}<" in line


def test_the_page_escapes_what_models_say(build_tree):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)))
    healed = next(m for m in spec["models"] if m["name"] == "healed")
    index = json.loads(Path(healed["evaluation"]).read_text())
    path = Path(next(e["path"] for e in index["sets"] if e["split"] == "test"))
    lines = [json.loads(line) | {"hypothesis": "<script>alert(1)</script>"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report(spec)
    text = (OUT / "report.html").read_text()
    assert "<script>alert" not in text and "\\u003cscript\\u003ealert" in text


def test_what_models_say_is_text_even_where_it_looks_like_no_value(build_tree):
    """An answer `nan` or `NA` is a word in the scores and on the page, and so is a model of that name."""
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20)).replace('"healed"', '"NA"'))
    named = next(m for m in spec["models"] if m["name"] == "NA")
    index = json.loads(Path(named["evaluation"]).read_text())
    path = Path(next(e["path"] for e in index["sets"] if e["split"] == "test"))
    words = ["nan", "null", "NA", "None"] * 5
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps(line | {"hypothesis": word}) + "\n" for line, word in zip(lines, words, strict=True))
    )
    report(spec)
    rows = [r for r in table("scores.tsv") if r["model"] == "NA"]
    assert len(rows) == 8 and all(r["value"] for r in rows)
    shown = data_of((OUT / "report.html").read_text(), "sentences")
    said = {text[0] for group in shown["sets"] for row in group["rows"] for text in row["texts"]}
    assert set(words) <= said and "NA" in shown["models"]
    assert "NA keeps balanced on medical" in (OUT / "summary.md").read_text()


def test_overlap_of_test_with_training_is_counted(written):
    outcomes = Outcomes(written, Path("results/cache"))
    rows = context(outcomes, scores(outcomes), [], frame(COSTS), frame(GROUPS))["overlaps"]
    found = {(row["set"], row["by"]): row for row in rows}
    assert found["medical", "training"]["counts"]["source"] >= 1 and found["medical", "training"]["n"] == 120
    assert found["general", "training"]["counts"]["source"] == found["general", "choosing"]["counts"]["source"] == 0


def made(**change):
    values = {
        "claim": "1", "model": "soup", "against": "tuned/best", "replicates": 3, "split": "test", "set": "medical",
        "decoding": "d", "metric": "bleu", "hypothesis": "beats", "margin": None, "difference": 0.21,
        "ci_low": -0.4, "ci_high": 0.83, "p": 0.51, "p_holm": 0.51, "method": "", "units": 379, "unit": "documents",
        "ci_models_low": -0.3, "ci_models_high": 0.7, "p_models": 0.4, "p_models_holm": 0.4, "visible": 0.9,
        "by_replicate": (("1", 0.5), ("2", -0.1), ("3", 0.2)),
    }  # fmt: skip
    return Comparison(**{**values, **change})


ALONE = {"replicates": 1, "by_replicate": (("1", 0.21),), "p": None, "p_holm": None, "p_models": 0.01}


def test_words():
    assert claim_line(made()) == (
        "**soup beats tuned/best on medical** — not shown, the difference could be chance: +0.21 BLEU "
        "(95 % interval −0.40 to +0.83, p 0.51; three replicates: +0.5 −0.1 +0.2)."
    )
    assert claim_line(made(**ALONE, p_models_holm=0.02)) == (
        "**soup beats tuned/best on medical** — shown for these models, soup is better, but one training of each says "
        "little of another: +0.21 BLEU (95 % interval −0.40 to +0.83, p 0.010, after Holm 0.020)."
    )
    some = made(p_models=0.001, p_models_holm=0.001)
    assert "shown for these models, soup is better, but over the replicates it could be chance" in claim_line(some)
    assert "refuted for the method, soup is worse" in claim_line(made(p=0.01, p_holm=0.02, difference=-1.0))
    keeps = {"hypothesis": "keeps", "margin": 0.5, "difference": -0.1}
    assert "can't be ruled out:" in claim_line(made(**keeps, ci_low=-0.6))
    assert "can't be ruled out after Holm's adjustment" in claim_line(made(**keeps, p=0.04, p_holm=0.08, ci_low=-0.45))
    assert "not tested: too few" in claim_line(made(**keeps, p=None, p_holm=None, refused="too few"))
    assert "Only 7 independent units (documents)" in claim_line(made(units=7))
    assert "without the 4 units of 379 that count most" in claim_line(made(decisive=4))
    assert "without the unit of 24 that counts most" in claim_line(made(units=24, decisive=1))
    assert visible_text(made()) == "0.90"
    assert visible_text(made(visible=float("nan"), unseen="equal answers")) == "none measurable: equal answers"


def test_the_headline_counts_what_is_shown_for_the_method():
    shown, models = made(p=0.01, p_holm=0.02), made(p_models=0.001, p_models_holm=0.001)
    assert headline([shown, shown]) == "All 2 claims are shown for the method."
    assert (
        headline([shown, models, made()])
        == "1 of 3 claims is shown for the method; 1 more is shown for these models alone."
    )
    assert headline([models, models]) == "None of 2 claims is shown for the method; 2 are shown for these models alone."
    assert headline([made(), made()]) == "None of 2 claims is shown for the method."
    assert headline([made(p=0.01, p_holm=0.02, difference=-1.0)]) == "The one claim is refuted for the method."
    assert headline([models]) == "The one claim is shown for these models."
    assert verdict(models, [models])["state"] == "open" and verdict(shown, [shown])["state"] == "holds"
    assert standing(models) == ("open", "better for these models") and standing(shown) == ("good", "better")


def test_speakers_are_units_where_they_are_known_unless_the_experiment_says_otherwise(build_tree, tmp_path):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=60)))
    rows = sentences("medical-test", 60, 4, documents=30)
    for i, row in enumerate(rows):
        row["speaker"] = f"s{i % 5}"
    prepare(Path("results/data/medical-test"), "medical-test", rows)
    for declared_units, units, unit in (
        (None, 5, "speakers"),
        ("document", 30, "documents"),
        ("recording", 60, "rows"),
    ):
        outcomes = Outcomes(spec | ({"units": declared_units} if declared_units else {}), tmp_path / "cache")
        found = compare(outcomes, declared(outcomes)[:1])[0]
        assert (found.units, found.unit) == (units, unit)


def test_numbers():
    assert [number(x) for x in (1.0, -0.00001, None, float("nan"))] == ["1.0000", "0.0000", "", ""]
    assert [signed(x) for x in (1.0, -1.0, -0.001)] == ["+1.00", "−1.00", "+0.00"]


def test_summary_needs_no_costs(tree, tmp_path):
    outcomes = Outcomes(json.loads(json.dumps(tree)), tmp_path)
    assert "parameters" not in summary(outcomes, [], frame(SCORES), frame(COSTS))


def test_a_diverged_run_is_named_in_the_summary(tree):
    run = next(m for m in tree["models"] if m["verb"] == "train" and str(m["replicate"]) == "2")
    Path(run["folder"]).mkdir(parents=True, exist_ok=True)
    (Path(run["folder"]) / "provenance.json").write_text(json.dumps({"diverged": {"step": 14, "loss": "nan"}}))
    report(tree)
    wanted = f"left out of every average: {run['name']} (replicate 2) at step 14."
    assert wanted in (OUT / "summary.md").read_text() and wanted in (OUT / "report.html").read_text()


def test_runs_that_a_sweep_stopped_are_told_and_left_out_of_the_median(tree):
    runs = [m for m in tree["models"] if m["node"] == "tuned" and m["run"] not in ("", "best")]
    (stopped,) = {m["name"] for m in runs if m["run"].endswith("0.0001")}
    for run in runs:
        Path(run["folder"]).mkdir(parents=True, exist_ok=True)
        record = {"stopped": {"step": 200}} if run["name"] == stopped else {}
        (Path(run["folder"]) / "provenance.json").write_text(json.dumps(record))
    report(tree)
    told = "tuned: of 9 runs 3 at step 200 were stopped, and left out of every average and of tuned/best."
    page = (OUT / "report.html").read_text()
    assert told in (OUT / "summary.md").read_text() and told in page
    assert f'{stopped} <span class="soft">stopped at step 200</span>' in page
    rows = [r for r in table("scores.tsv") if (r["split"], r["set"], r["metric"]) == ("test", "medical", "bleu")]
    left = [float(r["value"]) for r in rows if r["model"] in {m["name"] for m in runs} - {stopped}]
    # of two runs a replicate, the median is the mean
    line = re.search(r"tuned, median of its whole runs</td>.*", page)[0]
    assert len(left) == 6 and f">{sum(left) / 6:.2f}<" in line
    assert {r["name"] for r in table("runs.tsv") if r["stopped_at"] == "200"} == {stopped}


def test_rows_not_taken_and_hypotheses_cut_are_told_with_their_share(tree):
    sizes = {}
    for model in tree["models"]:
        if model["name"] in ("base", "soup"):
            path = Path(model["evaluation"])
            index = json.loads(path.read_text())
            for entry in index["sets"]:
                if (entry["split"], entry["set"]) == ("test", "medical"):
                    sizes[entry["n"]] = entry
                    entry["cut"] = ["a", "b"] if model["name"] == "soup" else ["a"]
                    entry["unheard"] = {"c": "too short for the model"} if model["name"] == "soup" else {}
            path.write_text(json.dumps(index))
    report(tree)
    (n,) = sizes
    text = (OUT / "summary.md").read_text()
    assert f"test set medical: 2 of {n} ({200 / n:.1f} %) of soup, the most of 2 models." in text
    assert f"counted as empty hypotheses: test set medical: 1 of {n} ({100 / n:.1f} %) of soup (c)." in text
    assert "of soup (c)." in (OUT / "report.html").read_text()


def test_a_choice_by_chance_is_called_so(tree):
    for model in tree["models"]:
        if model["name"] == "soup":
            path = Path(model["folder"]) / "provenance.json"
            record = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(
                json.dumps(record | {"chosen": {"cautions": ["chosen by wer on <6 utterances; `metric: loss`"]}})
            )
    report(tree)
    assert (OUT / "summary.md").read_text().count("soup: chosen by wer on <6 utterances; `metric: loss`.") == 1
    assert "soup: chosen by wer on &lt;6 utterances; <code>metric: loss</code>." in (OUT / "report.html").read_text()


def test_costs_are_means_over_replicates_as_scores_are():
    """`enough` is the small one in one replicate of two; an export has no speed."""
    from consomme.report.findings.means import cost_per_model

    rows = [
        {"model": "whole", "parameters": 100, "speed": 10.0, "speed_low": 9.0, "speed_high": 11.0, "device": "cpu"},
        {"model": "enough", "parameters": 100, "speed": 10.0, "speed_low": 9.0, "speed_high": 11.0, "device": "cpu"},
        {"model": "enough", "parameters": 50, "speed": 30.0, "speed_low": 25.0, "speed_high": 31.0, "device": "cpu"},
        {"model": "once", "parameters": 100, "speed": 10.0},
        {"model": "out", "bytes": 7},
    ]
    shown = ["parameters", "speed", "speed_low", "speed_high", "device"]
    cost = cost_per_model(frame(COSTS, rows))[shown]
    assert list(cost.loc["whole"]) == [100, 10, 9, 11, "cpu"] and list(cost.loc["enough"]) == [75, 20, 9, 31, "cpu"]
    assert list(cost.loc["once"]) == [100, 10, 10, 10, ""]  # without a range, both ends are the median
    assert cost.loc["out"].isna().tolist() == [True, True, True, True, False]


def test_a_pruned_model_that_is_not_faster_says_so(tree):
    path = OUT / "costs.tsv"
    header, *lines = path.read_text().splitlines()

    def said(half, balanced, size=51_000_000):
        rows = []
        for line in lines:
            cells = line.split("\t")
            low, high = {"half": half, "balanced": balanced}.get(cells[0], (30.0, 34.0))
            cells[2] = str(size) if cells[0] == "half" else cells[2]
            rows.append("\t".join([*cells[:5], str((low + high) / 2), *cells[6:], str(low), str(high)]))
        path.write_text("\n".join([f"{header}\tspeed_low\tspeed_high", *rows]) + "\n")
        report(tree)
        text = (OUT / "summary.md").read_text()
        assert ("Pruned, " in text) == ("Pruned, " in (OUT / "report.html").read_text())
        return [line for line in text.splitlines() if line.startswith("Pruned, ")]

    assert said((50.0, 52.0), (30.0, 34.0)) == []
    assert said((33.0, 37.0), (30.0, 34.0)) == [
        "Pruned, but not measurably faster than before (intervals of the speeds overlap): half (33 – 37; balanced 30 – 34 tokens/s)."
    ]
    assert said((20.0, 25.0), (30.0, 34.0), 74_000_000) == [
        "Pruned, and slower than before: half (20 – 25; balanced 30 – 34 tokens/s; no smaller either)."
    ]
