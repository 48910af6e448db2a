"""`python -m consomme.tools.publish CONFIG [EXPERIMENT ...] --out FILE.md`: the tables and pictures of a finished run, in
Markdown and SVG, for some of its experiments or for all.

The page has the content of report.html, with the command, commit, machine and minutes of the run. Pictures are in a folder
with the page's name beside it."""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.common.errors import exit_on_error
from consomme.common.files import write_text
from consomme.plan.items import Model
from consomme.plan.load import read
from consomme.plan.plan import Plan, Study
from consomme.plan.problems import among
from consomme.report.findings.means import by_decoding, cost_per_model, speed_unit
from consomme.results.columns import COSTS, GROUPS, SCORES
from consomme.results.frames import read as read_table

CACHE = Path("results/cache")
WIDTH = 640  # pixels


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m consomme.tools.publish", description=__doc__.split(": ", 1)[1])
    parser.add_argument("config", type=Path)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    with exit_on_error():
        publish(given.config, given.out, given.experiments)


def publish(config: Path, out: Path, experiments: Sequence[str] = ()) -> None:
    """Write the page, and its pictures in a folder with its name. Unfinished experiments are marked as such.
    experiments: names of those to show; empty: all of the configuration."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    known = Plan(read([config])).studies
    for name in experiments:
        among("EXPERIMENT", name, known, "experiment")
    studies = [known[name] for name in experiments or known]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("publish.md").render(
        config=config,
        named=list(experiments),
        made=provenance(studies),
        studies=[section(study, out.with_suffix("")) for study in studies],
    )
    write_text(out, text.rstrip("\n") + "\n")


def provenance(studies: Sequence[Study]) -> dict[str, str]:
    """Commit (of the run, and of this page if different), machine, minutes, replicates."""
    files = [file for study in studies for file in Path(study.folder, "benchmarks").rglob("*.tsv")]
    seconds = sum(pd.read_csv(file, sep="\t")["s"].sum() for file in files)
    run, page = _commit(Path()), _commit(Path(__file__).parent)
    return {
        "commit": run if run == page else f"{run}; tables, tests and pictures: {page}",
        "machine": f"{_processor()}, {os.cpu_count()} cores, no GPU; Python {platform.python_version()}",
        "minutes": f"{seconds / 60:.0f}",
        "replicates": ", ".join(f"{s.name} {len(s.graphs)}" for s in studies),
    }


def section(study: Study, pictures: Path) -> dict[str, Any]:
    """The page's content for one experiment. Writes its pictures into the folder."""
    if not (Path(study.folder) / "report.html").exists():
        return {"name": study.name, "finished": False}
    from consomme.report.page.context import context
    from consomme.report.write import measured

    outcomes, scores, comparisons, costs, registered = measured(study.report, CACHE)
    groups = read_table(Path(study.folder) / "groups.tsv", GROUPS)
    shown = context(outcomes, by_decoding(scores), comparisons, costs, groups, registered)
    kept = ("headline", "journey", "cautions", "sets", "averages", "landscapes", "optimism", "compact", "explored")
    return {k: shown[k] for k in kept} | {
        "name": study.name,
        "finished": True,
        "models": models(study),
        "claims": shown["claims"],
        "signatures": shown["signatures"],
        "prospects": shown["prospects"],
        "pictures": [
            {"words": caption, "path": f"{pictures.name}/{draw(shown['charts'][key], pictures, f'{study.name}-{key}')}"}
            for key, caption in captions(shown).items()
        ],
    }


def captions(shown: Mapping[str, Any]) -> dict[str, str]:
    """The published charts: key -> caption."""
    sets, charts = shown["sets"], shown["charts"]
    found = {
        "pareto": f"Test sets: {', '.join(sets[:2])}. Up and to the right is better; bars are 95 % intervals, small points runs, a dashed line mixes of two models.",
        "pareto_dev": "The same on the development sets, where the choices were made"
        + (
            f"; dashed: the path on which {shown['path_of']} was chosen; crosses: the points chosen."
            if shown["path_of"]
            else "."
        ),
    }
    for i, name in enumerate(sets[:2]):
        front = f"Pruned models on the test set {name}; lines lead to what was recovered; dashed: the Pareto front."
        found |= {f"front_{field}_{i}": front for field in ("parameters", "speed")}
    found |= {
        key: f"What {title} was chosen among, on the development set."
        for key, title in shown["pruning"]["budgets"]["titles"].items()
    }
    layers = "What layers are worth, the fuller the more, to each way of choosing; × went."
    found |= dict.fromkeys(shown["pruning"]["layers"]["charts"], layers)
    found |= {
        key: f"What heads are worth: {title}; × went." for key, title in shown["pruning"]["heads"]["titles"].items()
    }
    for i, s in enumerate(shown["landscapes"][:1]):  # of all runs; landscapes of parts are in the report alone
        found[f"basin_{i}"] = f"{s['title']}: the loss on the line from the best run to each other one."
        found[f"more_{i}"] = (
            f"{s['title']}: the loss of the mean of the first runs, in random orders and by their loss."
        )
    found |= {key: f"{s['title']}: {sets[int(key.split('_')[-1])]}" for s in shown["series"] for key in s["charts"]}
    return {key: words for key, words in found.items() if key in charts}


def draw(chart: Mapping[str, Any], folder: Path, name: str) -> str:
    """Write the chart as an SVG on white. Returns the file's name."""
    import altair as alt
    import vl_convert

    # padding: fonts differ, and legends were cut
    spec = {**chart, "width": WIDTH, "background": "white", "padding": 16}
    version = alt.VEGALITE_VERSION.removeprefix("v").rsplit(".", 1)[0]
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=version)
    write_text(folder / f"{name}.svg", re.sub(r"(\d\.\d\d)\d+", r"\1", drawn))  # a hundredth of a pixel is enough
    return f"{name}.svg"


def models(study: Study) -> str:
    """Means over replicates on every test set, with the range in brackets. The runs of a trained sweep are one line: the
    mean of each replicate's median run, and the range over all runs."""
    folded = _folded(study)
    lines = {name: line for names, line in folded for name in names}
    scores = read_table(Path(study.folder) / "scores.tsv", SCORES)
    scores = scores[(scores["split"] == "test") & (scores["decoding"] == study.first.decoding_digest)]
    place = ["line", "metric", "set"]
    scores = scores.assign(line=scores["model"].map(lines))
    found = scores.groupby(place)["value"].agg(["count", "min", "max"])
    found["middle"] = scores.groupby([*place, "replicate"])["value"].median().groupby(place).mean()
    found["cell"] = [
        f"{middle:.1f} ({low:.1f}–{high:.1f})" if count > 1 else f"{middle:.1f}"
        for count, low, high, middle in found.itertuples(index=False)
    ]
    columns = [(metric, name) for metric in study.first.metrics for name in study.first.data.test]
    table = found["cell"].unstack(["metric", "set"]).reindex(index=[line for _, line in folded], columns=columns)
    table = table.dropna(how="all").fillna("")
    costs = read_table(Path(study.folder) / "costs.tsv", COSTS)
    firsts = {line: names[0] for names, line in folded}
    cost = cost_per_model(costs).reindex([firsts[line] for line in table.index])
    parameters = ["" if math.isnan(count) else f"{int(count) / 1e6:.2f}" for count in cost["parameters"]]
    speeds = ["" if math.isnan(speed) else f"{speed:.0f}" for speed in cost["speed"]]
    head = ["model", *(f"{m} {s}" for m, s in columns), "M parameters", f"speed, {speed_unit(costs)}"]
    cells = zip(table.index, table.values.tolist(), parameters, speeds, strict=True)
    rows = [head, ["---"] * len(head), *([line, *scored, size, speed] for line, scored, size, speed in cells)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _pruned(model: Model) -> bool:
    """Whether a pruned run is among a model's ancestors by first parents."""
    parent = next(iter(model.parents.values()), None)
    return parent is not None and bool(parent.run) and (parent.verb == "prune" or _pruned(parent))


def _folded(study: Study) -> list[tuple[list[str], str]]:
    """(names of models, name of their line): the runs of a trained sweep share a line, unless they were trained from
    different pruned models, which differ in shape."""
    folded: dict[str, list[str]] = {}
    for model in study.first.models:
        run = bool(model.run) and model.stage == "train" and not _pruned(model)
        folded.setdefault(model.node if run else model.name, []).append(model.name)
    return [
        (names, f"{line}, median of {len(names)} runs" if len(names) > 1 else line) for line, names in folded.items()
    ]


def _commit(place: Path) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=place, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
