"""Configuration files: what YAML would lose in silence, or never end with, is refused with its lines."""

import pytest

from consomme.common.errors import ConsommeError
from consomme.plan.load import read

TWICE = """\
experiments:
  e:
    models:
      soup: {average: a}
      half: {prune: soup}
      soup: {average: b}
"""


@pytest.fixture
def file(tmp_path):
    def written(text, name="given.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_a_key_given_twice_is_an_error_with_file_and_lines(file):
    path = file(TWICE)
    with pytest.raises(ConsommeError) as caught:
        read([path])
    assert str(caught.value).startswith(f"{path}: 'soup' is given twice, in lines 4 and 6")


def test_every_key_given_twice_is_named(file):
    with pytest.raises(ConsommeError) as caught:
        read([file('{"a": 1,\n "a": 2,\n b: {c: 1,\n c: 2}}')])
    assert "'a' is given twice, in lines 1 and 2" in str(caught.value)
    assert "'c' is given twice, in lines 3 and 4" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["on: 1\non: 2", 'on: 1\n"on": 2', "yes: 1\ntrue: 2", "1: a\n1.0: b", '"x": 1\nx: 2', "? x\n: 1\nx: 2"]
)
def test_spellings_of_one_key_are_one_key(file, text):
    with pytest.raises(ConsommeError, match="is given twice, in lines 1 and"):
        read([file(text)])


def test_a_key_given_twice_in_what_is_merged_is_found(file):
    with pytest.raises(ConsommeError, match="'x' is given twice, in lines 1 and 1"):
        read([file("a: {<<: {x: 1, x: 2}}")])


def test_a_key_given_twice_in_an_overlay_is_an_error_and_in_two_files_none(file):
    below, above = file("a: {x: 1, y: 1}", "below.yaml"), file("a: {x: 2}", "above.yaml")
    assert read([below, above]) == {"a": {"x": 2, "y": 1}}
    twice = file("a: {x: 2}\na: {y: 2}", "twice.yaml")
    with pytest.raises(ConsommeError, match=r"twice.yaml: 'a' is given twice, in lines 1 and 2"):
        read([below, twice])


def test_merge_keys_go_on_working(file):
    text = ".common: &common {steps: 4, rate: 1}\n.more: &more {seed: 3}\na: {<<: *common, rate: 2}\nb: {<<: [*common, *more]}\nc: *more\nd: *more"
    found = read([file(text)])
    assert found["a"] == {"steps": 4, "rate": 2} and found["b"] == {"steps": 4, "rate": 1, "seed": 3}
    assert found["c"] == found["d"] == {"seed": 3}


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb: &b {x: 1,\n  y: *b}", "a: 1\nb: &b [1,\n  *b]", "a: 1\nb: &b\n  <<: *b", "a: 1\nb: &b {? [*b]\n  : 1}"],
)
def test_an_alias_that_contains_itself_is_refused_with_its_line(file, text):
    with pytest.raises(
        ConsommeError,
        match=r"(?s)the alias \*b contains itself: it stands for what begins in line 2.*line [23], column",
    ):
        read([file(text)])


def test_aliases_that_repeat_one_another_do_not_explode(file):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    with pytest.raises(ConsommeError, match="its aliases repeat one another"):
        read([file("\n".join(lines))])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: 2024-13-01", "line 1, column 4"),
        ("a: !!bool perhaps", "line 1, column 4"),
        ("a: " + "9" * 5000, "line 1, column 4"),
        ("a: 0x" + "f" * 5000, "line 1, column 4"),
        ("a: {b: 1}}", "line 1"),
        ("a: \t- b", "line 1"),
        ("a: smörgås".encode("latin-1"), "not UTF-8, at byte 5"),
        ("a: 1".encode("utf-16"), "not UTF-8"),
        ("- a", "is a mapping"),
        ("", "is a mapping"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_configuration_is_an_error_that_names_the_file(file, text, wanted):
    with pytest.raises(ConsommeError, match=f"(?s)given.yaml: .*{wanted}"):
        read([file(text)])


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConsommeError, match="can't be read"):
        read([tmp_path])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: 1\nb: 040", "YAML reads 040 as octal, 32: .*, in line 2"),
        ("a: [1, -017]", "YAML reads -017 as octal, -15"),
        ("a: 1:30", "YAML reads 1:30 as a number in base 60"),
        ("a: 1:30.5", "YAML reads 1:30.5 as a number in base 60"),
        ("a: .inf", "no finite number, .* in line 1"),
        ("a: -.Inf", "no finite number"),
        ("a: .NaN", "no finite number"),
        ("a: {yes: 1}", 'YAML reads the key yes as True: write "yes", in line 1'),
        ('a: "\\ud800"', "has half of a character, .* in line 1"),
        ("no: 1", "YAML reads the key no as False"),
        ("OFF: 1", "YAML reads the key OFF as False"),
        ("[" * 101 + "]" * 101, "nested too deeply"),
        ("a: " + "x" * 2**19, "bytes; a configuration has"),
    ],
    ids=lambda value: value[:30],
)
def test_what_yaml_reads_as_something_else_is_refused_with_its_line(file, text, wanted):
    with pytest.raises(ConsommeError, match=f"(?s)given.yaml: .*{wanted}"):
        read([file(text)])


def test_what_pyyaml_writes_of_the_key_on_is_that_key(file):
    assert read([file("claims: [{true: general}]")]) == {"claims": [{True: "general"}]}


def test_what_is_written_plainly_is_read(file):
    text = 'a: ["040", "1:30", 0, 0.5, 1e-5, 1_000, 0x10, ".inf"]\nb: {on: c, "yes": 1}\nc: [yes, off]\nd: 2020-01-01'
    found = read([file(text)])
    assert found["a"] == ["040", "1:30", 0, 0.5, "1e-5", 1000, 16, ".inf"]
    assert found["b"] == {True: "c", "yes": 1} and found["c"] == [True, False]


def test_all_of_a_file_s_traps_are_named_at_once(file):
    with pytest.raises(ConsommeError) as caught:
        read([file("a: 010\nb: 1:30\nyes: 1\na: 2")])
    assert [line.rpartition("line")[0] != "" for line in str(caught.value).splitlines()] == [True] * 4
