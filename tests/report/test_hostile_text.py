"""Names and texts that are scripts, on every page that shows some: none of them runs, is markup, or has anything fetched. Skipped where
there is no browser."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from consomme.report.write import write_report
from consomme.status.jobs import STATES, Job
from consomme.status.show import show
from consomme.tools import gallery

from .browser import Browser, executable  # isort: skip

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")
# without a slash, as names may not have one
NAMES = [
    "<img src=x onerror=ran=1>",
    "<svg onload=ran=1>",
    '"><script>ran=1<&#47;script>',
    "' onmouseover='ran=1' x='",
    '" autofocus onfocus=ran=1 x="',
    "{{constructor.constructor('ran=1')()}}",
    "${ran=1}`",
    "<details open ontoggle=ran=1>",
    "datum['x'] || (ran=1)",
    "=HYPERLINK(1)",
]
TEXTS = [
    *NAMES,
    "</script><script>ran=1</script>",
    "<!--<script>",
    "]]><script>ran=1</script>",
    "</title></style></textarea></noscript><script>ran=1</script>",
    "<a href='javascript:ran=1'>x</a>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=http://example.org/'>",
    "<base href=http://example.org/>",
    "<link rel=stylesheet href=http://example.org/x.css>",
    "<style>@import 'http://example.org/x.css';</style>",
    "<audio src=http://example.org/x autoplay onerror=ran=1>",
    "`<script>ran=1</script>` **x** [x](javascript:ran=1)",
    "\u2028ran=1//\u2029*/ran=1/*",
    "\x1b]0;ran\x07\x00\x85",
    "&lt;script&gt;ran=1&lt;/script&gt;&#x3c;img src=x onerror=ran=1&#x3e;",
    "\u202e<img src=x onerror=ran=1>\u2066",
]
MARKUP = "script:not([type='application/json']), iframe, object, embed, base, form:not(.vega-bindings), meta[http-equiv=refresh], link, img, a[href^=javascript]"
ATTRIBUTES = (
    "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => a.name.startsWith('on')).length"
)


def text(number):
    return TEXTS[number % len(TEXTS)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def opened(browser, page):
    """Open a page; what was asked for and complained of since is in `requests` and `errors`."""
    browser.run("0")  # what the page before has asked for until now is noted
    browser.requests.clear()
    browser.errors.clear()
    browser.open(page)
    return browser


def is_harmless(browser, page, allowed=0):
    """allowed: elements of MARKUP that the page has of its own."""
    assert browser.run("typeof ran") == "undefined"
    assert browser.run(f"document.querySelectorAll(`{MARKUP}`).length") == allowed
    assert browser.run(ATTRIBUTES) == 0
    assert browser.errors == []  # the policy had nothing to refuse
    assert {r.partition("#")[0] for r in browser.requests if not r.startswith("data:")} == {page.as_uri()}


# -- the report --------------------------------------------------------------------------------------------------------------------
def rewritten(path, names):
    """A JSON file with other names."""
    path.write_text(json.dumps(renamed(json.loads(path.read_text()), names)))


def renamed(value, names):
    """The value with other names of nodes, sets and corpora; NODE/RUN keeps its run."""
    if isinstance(value, dict):
        return {renamed(key, names): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if not isinstance(value, str):
        return value
    node, slash, run = value.partition("/")
    return names.get(value) or (
        f"{names[node]}/{run}" if slash and node in names and re.match("best|learning_rate", run) else value
    )


def rows_of(path):
    """The rows of a prepared corpus as columns."""
    return pa.ipc.open_file(path.read_bytes()).read_all()


@pytest.fixture(scope="module")
def report(tmp_path_factory, builder):
    place = tmp_path_factory.mktemp("hostile")
    with contextlib.chdir(place):
        spec = json.loads(json.dumps(builder(place, replicates=(1,), count=30)))
        nodes = ["base", "tuned", "soup", "balanced", "half", "healed"]
        names = dict(zip([*nodes, "general", "medical"], NAMES, strict=False))
        names |= {name: f"{text(n)}{n}" for n, name in enumerate(spec["corpora"])}
        for folder in spec["corpora"].values():
            table = rows_of(Path(folder, "rows.arrow"))
            for column in ("id", "speaker", "document", "source", "target", "by:accent"):
                made = [f"{text(n)} {n if column in ('id', 'source', 'target') else ''}" for n in range(len(table))]
                at = table.column_names.index(column) if column in table.column_names else -1
                table = (
                    table.set_column(at, column, pa.array(made))
                    if at >= 0
                    else table.append_column(column, pa.array(made))
                )
            with (
                pa.OSFile(str(Path(folder, "rows.arrow")), "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as writer,
            ):
                writer.write_table(table)
        for index in {model["evaluation"] for model in spec["models"]}:
            for entry in json.loads(Path(index).read_text())["sets"]:
                said = [json.loads(line) for line in Path(entry["path"]).read_text().splitlines()]
                for n, line in enumerate(said):
                    line |= {
                        "id": f"{text(n)} {n}",
                        "reference": f"{text(n)} {n}",
                        "hypothesis": f"{text(n + len(index) % 3)} {line['hypothesis']}",
                    }
                Path(entry["path"]).write_text("".join(json.dumps(line) + "\n" for line in said))
            rewritten(Path(index), names)
        for model in spec["models"]:
            record = Path(model["folder"], "provenance.json")
            made = json.loads(record.read_text())
            made["settings"] |= {"note": text(11), text(12): [text(13)]}
            made["packages"] = {text(14): text(15)}
            record.write_text(json.dumps(renamed(made, names)))
            if model["verb"] == "train" and model["node"] == "tuned":
                lines = [{"step": n, "loss": 4 / n, "learning_rate": 1e-4 / n} for n in range(1, 60)]
                (Path(model["folder"]) / "progress.jsonl").write_text(
                    "".join(json.dumps(line) + "\n" for line in lines)
                )
        costs = Path(spec["costs"])
        head, *lines = costs.read_text().splitlines()
        cells = [line.split("\t") for line in lines]
        costs.write_text(
            "\n".join([head, *("\t".join([renamed(c[0], names), *c[1:-1], text(3)]) for c in cells)]) + "\n"
        )
        spec = renamed(spec, names) | {"experiment": text(10), "languages": ["en", "fr"], "by": ["accent", text(16)]}
        write_report(spec, Path("results/medical-translator"), Path("results/cache"))
    return place / "results/medical-translator"


def test_the_report(browser, report):
    page = report / "report.html"
    opened(browser, page)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.run(
        "Promise.all(Object.keys(charts).map(async key => { while (!views[key]?.view) await new Promise(r => setTimeout(r, 20)); }))"
    )
    # whatever a reader can do
    for script in (
        "document.querySelectorAll('button').forEach(b => b.click())",
        "document.querySelectorAll('select').forEach(s => [...s.options].forEach((o, i) => { s.selectedIndex = i; s.dispatchEvent(new Event('change')); }))",
        "document.querySelectorAll('*').forEach(e => ['mouseover', 'mousemove', 'pointerenter', 'pointermove', 'focus'].forEach(n => e.dispatchEvent(new MouseEvent(n, {bubbles: true, clientX: 9, clientY: 9}))))",
        "document.querySelectorAll('nav a, summary').forEach(e => e.click())",
    ):
        browser.run(f"{script}; new Promise(done => setTimeout(done, 200))")
    ours = browser.run("document.querySelectorAll('script:not([type])').length")
    assert ours == 2  # the library of charts, and the page's own
    is_harmless(browser, page, ours)
    shown = browser.run("document.body.textContent")
    for name in NAMES[:7]:
        assert name in shown, name
    assert browser.run("document.title") == f"{text(10)} · report"
    for name in TEXTS[:4]:
        assert browser.run("document.getElementById('groups').parentElement.textContent").count(name), name


def test_what_lies_beside_the_report_has_no_formulas_and_no_control_characters(report):
    for path in [*report.glob("*.tsv"), *report.glob("tables/*.csv"), *report.glob("*.md"), *report.glob("cards/*.md")]:
        found = path.read_text(encoding="utf-8")
        assert "\x1b" not in found, path
        if path.suffix in (".tsv", ".csv"):
            assert not re.search(r'(^|[\t,]"?)=', found, re.MULTILINE), path


# -- other pages ---------------------------------------------------------------------------------------------------------------------
def test_the_page_of_what_jobs_are_doing(browser, tmp_path, capsys):
    found = [
        Job(text(n), "train", text(n + 1), text(n + 2), STATES[n % len(STATES)], None, text(n + 3), text(n + 4))
        for n in range(len(TEXTS))
    ]
    show(lambda: found, text(10), tmp_path / "status.html")
    assert "\x1b" not in capsys.readouterr().out
    page = tmp_path / "status.html"
    opened(browser, page)
    ours = browser.run("document.querySelectorAll('meta[http-equiv=refresh]').length")
    assert ours == 1
    is_harmless(browser, page, ours)
    assert TEXTS[0] in browser.run("document.body.textContent")


def test_the_page_of_augmentations(browser, tmp_path):
    wave = np.sin(np.arange(8000) / 5).astype(np.float32) / 3
    examples = [gallery.Utterance(text(n), wave, text(n)) for n in range(len(TEXTS))]
    lines = [[("source", [text(n)]), ("target", [text(n), text(n + 1)])] for n in range(len(TEXTS))]
    written = {"name": text(0), "settings": text(1), "what": text(2), "lines": lines}
    sections = [*gallery.spoken(examples, [], tmp_path, 1), written]
    page = tmp_path / "gallery.html"
    gallery.write_page(page, text(10), sections, 1)
    opened(browser, page)
    is_harmless(browser, page, len(examples))
    assert all(browser.run(f"document.body.textContent.includes({json.dumps(t)})") for t in TEXTS if t.isprintable())
