"""What rules give a shell: whatever settings and paths hold, it is an argument and no command."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import format as filled

from ..thorough import cases

RULES = Path(__file__).parents[2] / "rules"
FIELD = re.compile(r"\{([\w.]+)(:\w+)?\}")
# numbers, and names that rules constrain to letters, digits, - and _
PLAIN = re.compile(r"threads|wildcards\.(experiment|model|corpus|evaluation|landscape)")
PIECES = [
    "'",
    '"',
    "`",
    "$(touch x)",
    "${x}",
    "\\",
    "\n",
    ";",
    "|",
    "&",
    "&&",
    "{x}",
    "{{",
    "}}",
    "%s",
    "*",
    "~",
    "-rf",
    "--",
    "#",
    "!",
    "\x1b",
    "é",
    " ",
    "a",
]
VALUES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
)


def commands():
    """The shell strings of all rules, with those of rules/common.smk that they end with."""
    texts = [file.read_text(encoding="utf-8") for file in RULES.glob("*.smk")]
    found = [block for text in texts for block in re.findall(r"^    shell:\n((?:        .*\n)+)", text, re.MULTILINE)]
    return [*found, *re.findall(r"^LOGGED.* = (.*)$", (RULES / "common.smk").read_text(encoding="utf-8"), re.MULTILINE)]


def test_every_field_of_a_command_is_quoted_or_a_plain_name():
    found = [field for command in commands() for field in FIELD.findall(command)]
    assert len(found) > 30
    assert [name for name, quoted in found if quoted != ":q" and not PLAIN.fullmatch(name)] == []


def test_names_of_wildcards_are_plain():
    text = (RULES / "common.smk").read_text(encoding="utf-8")
    (block,) = re.findall(r"^wildcard_constraints:\n((?:    .*\n)+)", text, re.MULTILINE)
    found = dict(re.findall(r'(\w+)="(.*)"', block))
    assert set(found) == set(PLAIN.pattern.split("(")[1].rstrip(")").split("|"))
    assert all(re.fullmatch(r"(\[[A-Za-z0-9_-]+\]\+-?)+", pattern) for pattern in found.values())


@cases(40, 600)
@given(st.lists(VALUES, min_size=1, max_size=20))
def test_a_quoted_field_is_the_argument_that_it_was(values):
    params = SimpleNamespace(spec=values[0], inputs=values)
    command = filled("printf '%s\\0' {params.spec:q} {params.inputs:q}", params=params)
    said = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert said.stdout.decode().split("\0")[:-1] == [values[0], *values] and not said.stderr
