"""Whatever names and texts hold, in what people open: tables, pictures, pages and blocks of data stay what they are."""

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from consomme.common.shown import from_cell, one_line
from consomme.report.charts.dag import Graph, Node, mermaid, svg
from consomme.report.page.render import in_script, marked
from consomme.report.tables import Tabular, as_csv, as_latex, as_markdown
from consomme.status.jobs import STATES, Job
from consomme.status.show import show

from ..thorough import cases

PIECES = [
    "<script>",
    "</script>",
    "<!--",
    "<b",
    ">",
    "&lt;",
    "&",
    '"',
    "'",
    "`",
    "|",
    "\\",
    "\\|",
    "$",
    "{",
    "}",
    "%",
    "#",
    "^^",
    "~",
    "_",
    "[x](y)",
]
PIECES += [
    "=1",
    "+1",
    "-1",
    "@A",
    "＝",
    "\n",
    "\r\n",
    "\t",
    "\x1b[2J",
    "\0",
    "\x85",
    "\u2028",
    "\u202e",
    "é",
    "\\input{x}",
    "−",
    "\u00a0",
    "a",
    " ",
]
NAMES = st.one_of(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), st.text(max_size=8))
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(NAMES, min_size=width, max_size=width), min_size=1, max_size=4)
)


class Parsed(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *attributes))

    def handle_data(self, data):
        self.text += data


def plain(text):
    """What is left of a text in a cell: one line, plain minus signs and spaces."""
    return one_line(text).replace("−", "-").replace("\u00a0", " ")


@cases(100, 2000)
@given(TABLES)
def test_tables_for_spreadsheets_hold_the_texts_and_no_formulas(rows):
    made = as_csv(Tabular(rows[0], rows[1:]))
    found = list(csv.reader(io.StringIO(made, newline="")))
    assert [[from_cell(cell) for cell in row] for row in found] == [[plain(cell) for cell in row] for row in rows]
    assert not [cell for row in found for cell in row if re.match(r"[=@＝＋－＠]|[+-].*[A-Za-z=@|!]", cell)]


@cases(100, 2000)
@given(TABLES)
def test_tables_in_markdown_have_their_rows_and_columns_and_no_markup(rows):
    head, rule, *lines = as_markdown(Tabular(rows[0], rows[1:])).split("\n")[:-1]
    assert rule.strip("| -:") == "" and len(lines) == len(rows) - 1
    for line in (head, *lines):
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(rows[0]) + 1
        assert not re.search(r"(?<!\\)(?:\\\\)*[<`\[]", line)


TEX = re.compile(r"(?:\\[&%$#_{}]|\\text(?:backslash|asciitilde|asciicircum)\{\}|\$[<>-]\$|~|[^\\&%$#_{}~^\n])*")


@cases(100, 2000)
@given(TABLES)
def test_tables_in_latex_have_no_commands_but_ours(rows):
    lines = as_latex(Tabular(rows[0], rows[1:])).split("\n")
    inner = [line for line in lines[2:-3] if line != "\\midrule"]
    assert len(inner) == len(rows)
    for line in inner:
        cells = re.split(r"(?<!\\) & ", line.removesuffix(" \\\\"))
        assert len(cells) == len(rows[0]) and all(TEX.fullmatch(cell) for cell in cells), line


@cases(100, 2000)
@given(NAMES)
def test_code_in_sentences_is_the_only_markup(text):
    found = Parsed(str(marked(text)))
    assert set(found.tags) <= {("code",)}
    assert found.text.replace("`", "") == text.replace("`", "")


@cases(100, 2000)
@given(st.dictionaries(NAMES, st.one_of(NAMES, st.floats(), st.lists(NAMES))))
def test_data_of_a_page_is_as_it_was_and_can_not_end_its_block(value):
    text = in_script(value)
    assert not set(text) & set("<>&")
    finite = {key: None if isinstance(item, float) and not math.isfinite(item) else item for key, item in value.items()}
    assert json.loads(text) == finite


@cases(60, 1000)
@given(st.lists(NAMES.filter(lambda name: not set(name) & set("\ufffe\uffff")), min_size=2, max_size=4, unique=True))
def test_pictures_of_the_graph_hold_names_as_text(names):
    graph = Graph(tuple(Node(name, "train", (name,)) for name in names), ((names[0], names[1]),))
    picture = svg(graph)
    assert {tag for tag, *_ in Parsed(picture).tags} == {"svg", "title", "style", "path", "text"}
    ElementTree.fromstring(picture)
    _, *lines = mermaid(graph).split("\n")[:-1]
    assert len(lines) == len(names) + 2
    assert all(re.fullmatch(r' +n\d+\["[^"<]*<br/>[^"<]*"\]:::train', line) for line in lines[: len(names)])


@cases(60, 500)
@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(STATES)), min_size=1, max_size=3))
def test_the_status_of_jobs_is_text(tmp_path, capsys, jobs):
    found = [Job(name, "train", name, name, state, None, why) for name, why, state in jobs]
    show(lambda: found, jobs[0][0], tmp_path / "status.html")
    said = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
    tags = {tag for tag, *_ in Parsed((tmp_path / "status.html").read_text(encoding="utf-8")).tags}
    assert tags <= {"html", "head", "meta", "title", "style", "body", "pre", "code", "span"}
