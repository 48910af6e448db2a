"""What the choice of the best of equals promises too much, and its interval."""

import json
from pathlib import Path

import numpy as np
import pytest

from consomme.report import provenance
from consomme.report.findings.luck import optimism
from consomme.report.outcomes import Outcomes

RUNS = [f"tuned/seed={i}" for i in range(8)]


def model(root: Path, name: str, replicate: str, errors: dict[str, list[str]], parents=(), **record) -> dict:
    """A model with hypotheses on one set's development and test rows, and its provenance."""
    place = root / replicate / name.replace("/", "-")
    place.mkdir(parents=True)
    (place / "provenance.json").write_text(json.dumps(record))
    entries = []
    for split, said in errors.items():
        path = place / f"{split}.jsonl"
        rows = ({"id": f"{split}-{i}", "reference": "a b c d", "hypothesis": h} for i, h in enumerate(said))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        entries.append(
            {"split": split, "set": "words", "decoding": "d", "path": str(path), "n": len(said), "corpora": [split]}
        )
    (place / "index.json").write_text(json.dumps({"sets": entries}))
    node, _, run = name.partition("/")
    return {"name": name, "node": node, "run": run or None, "verb": "train", "replicate": replicate} | {
        "folder": str(place),
        "evaluation": str(place / "index.json"),
        "parents": list(parents),
    }


def outcomes(root: Path, corpus, models: list[dict], replicates=("1",), n=60) -> Outcomes:
    corpora = {}
    for split in ("dev", "test"):
        corpora[split] = str(root / f"data-{split}")
        rows = [{"id": f"{split}-{i}", "source": "", "target": "a b c d"} for i in range(n)]
        corpus(Path(corpora[split]), split, rows, "asr")
    sets = {split: {"words": [split]} for split in ("dev", "test")}
    spec = {"task": "asr", "metric": "wer", "normaliser": "verbatim", "decoding_digest": "d", "replicates": replicates}
    spec |= {"sets": dict.fromkeys(replicates, sets), "models": models, "corpora": corpora, "claims": []}
    return Outcomes(spec, root / "cache")


def said(wrong: float, rng, n=60) -> list[str]:
    return [" ".join("x" if rng.random() < wrong else word for word in "abcd") for _ in range(n)]


def wer(hypotheses: list[str]) -> float:
    return 100 * sum(h.split().count("x") for h in hypotheses) / (4 * len(hypotheses))


def best_of(root: Path, corpus, seed: int, wrong=0.3, replicates=("1",)) -> list[dict]:
    """The optimism of the best of eight equal runs on 60 rows."""
    rng, models = np.random.default_rng(seed), []
    for replicate in replicates:
        found = {run: {split: said(wrong, rng) for split in ("dev", "test")} for run in RUNS}
        best = min(RUNS, key=lambda run: wer(found[run]["dev"]))
        models += [model(root, run, replicate, each) for run, each in found.items()]
        chosen = {"ingredients": [best], "metric": "wer"}
        models.append(model(root, "tuned/best", replicate, found[best], RUNS, chosen=chosen))
    made = outcomes(root, corpus, models, replicates)
    return optimism(made, provenance.records(made), "wer")


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_the_best_of_equal_runs_is_lucky_by_what_it_leads_on_development(tmp_path, corpus):
    """Runs differ by chance alone, so a lead on the set that chose is luck, and the interval covers all of it."""
    covered, leads = 0, []
    for seed in range(20):
        (row,) = best_of(tmp_path / str(seed), corpus, seed)
        assert (row["chosen"], row["set"], row["over"]) == ("tuned/best", "words", "8 runs of tuned")
        dev, test, luck = (number(row[key]) for key in ("dev", "test", "luck"))
        assert luck == pytest.approx(dev - test, abs=0.011)
        low, high = map(number, row["interval"].split(" to "))
        assert low < luck < high
        covered += low <= dev <= high  # the true lead is none
        leads.append(dev)
    assert min(leads) > 0
    assert covered >= 17  # of 20 at 95 %: fewer in one case of 400


def test_over_replicates_the_interval_is_of_other_seeds_too(tmp_path, corpus):
    (row,) = best_of(tmp_path, corpus, 3, replicates=("1", "2", "3"))
    low, high = map(number, row["interval"].split(" to "))
    assert low < number(row["luck"]) < high
    assert high - low > 2  # three means of 60 rows


def test_an_average_that_was_chosen_is_put_beside_all_runs_and_what_was_pruned_beside_its_parent(tmp_path, corpus):
    """A lead of 15 points on development, of 5 on test; a model a tenth worse than its parent in both."""

    def wrong(tenths: int) -> list[str]:
        return ["x b c d"] * (6 * tenths) + ["a b c d"] * (60 - 6 * tenths)

    def both(dev: int, test: int) -> dict[str, list[str]]:
        return {"dev": wrong(dev), "test": wrong(test)}

    greedy = {"chosen": {"metric": "wer", "ingredients": RUNS[:2]}}
    looked = {"settings": {"choose_on": {"sets": {"words": {"lose_at_most": 3}}}}}
    searched = {"chosen": {"layers": {"encoder": {"dropped": [1], "trace": [{"step": 1}]}}}}
    models = [
        *(model(tmp_path, run, "1", both(8, 8)) for run in RUNS[:2]),
        model(tmp_path, "greedy", "1", both(2, 6), RUNS[:2], **greedy),
        model(tmp_path, "mean", "1", both(2, 6), RUNS[:2], chosen={"ingredients": RUNS[:2]}),
        model(tmp_path, "protected", "1", both(2, 6), RUNS[:2], **greedy, **looked),
        model(tmp_path, "half", "1", both(6, 10), ["greedy"], **searched),
    ]
    made = outcomes(tmp_path, corpus, models)
    rows = optimism(made, provenance.records(made), "wer")
    # a plain mean chose nothing, and where only a limit stands, nothing is led
    assert [(r["chosen"], r["over"], r["dev"], r["test"], r["luck"]) for r in rows] == [
        ("greedy", "2 runs of tuned", "+15.00", "+5.00", "+10.00"),
        ("half", "greedy", "−10.00", "−10.00", "+0.00"),
    ]
