"""YAML files with strict checks, with line numbers: keys given twice, recursive or exploding aliases, and what YAML 1.1 reads
as something else than it says, such as 040 (32), 1:30 (90) and the key yes (true), are errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from consomme.common.errors import ConsommeError
from consomme.data.text import half_characters

MOST = 100_000  # values of a file, each counted wherever an alias repeats it
LARGEST = 2**19  # bytes of a file
DEEPEST = 100  # levels of nesting
INT, FLOAT, BOOL = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool"))
OCTAL = re.compile(r"[-+]?0[0-7_]+")


def load(file: Path | str) -> Any:
    """The content of a YAML file. ConsommeError if it doesn't exist, isn't YAML, is too large, gives a key twice, has
    an alias that contains itself, or a number or key that YAML reads as another."""
    try:
        if (size := Path(file).stat().st_size) > LARGEST:
            raise ConsommeError(f"{file}: {size} bytes; a configuration has {LARGEST} at most")
        loader = _Loader(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConsommeError(f"{file}: there is no such configuration file") from None
    except OSError as error:
        raise ConsommeError(f"{file}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConsommeError(f"{file}: not UTF-8, at byte {error.start}: write it in that encoding") from None
    except yaml.YAMLError as error:
        raise ConsommeError(f"{file}: not YAML: {error}") from None
    try:
        node = loader.get_single_node()
        if loader.problems:
            raise ConsommeError("\n".join(f"{file}: {problem}" for problem in loader.problems))
        if node is None:
            return None
        if _size(node, {}) > MOST:
            raise ConsommeError(f"{file}: its aliases repeat one another to more than {MOST} values")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConsommeError(f"{file}: not YAML: {error}") from None
    except RecursionError:
        raise ConsommeError(f"{file}: nested too deeply") from None
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """problems: an error line per key that a mapping gives twice (overriding a key of a merged mapping, <<, is allowed), and
    per number or key that YAML reads as another."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        self.depth += 1
        if self.depth > DEEPEST:
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        # no end yet: the alias is inside the node that it stands for
        if alias is not None and node is not None and node.end_mark is None:
            begin = node.start_mark.line + 1
            raise yaml.MarkedYAMLError(
                None,
                None,
                f"the alias *{alias.anchor} contains itself: it stands for what begins in line {begin}",
                alias.start_mark,
            )
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        problem = _misread(node) if node.style is None else ""
        if half_characters(node.value):
            problem = f"{ascii(node.value)[:60]} has half of a character, which no file can hold"
        if problem:
            self.problems.append(f"{problem}, in line {node.start_mark.line + 1}")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key)
            line = key.start_mark.line + 1
            # PyYAML writes the key `on` as `true`
            if isinstance(name, bool) and key.value not in ("on", "true"):
                self.problems.append(f'YAML reads the key {key.value} as {name}: write "{key.value}", in line {line}')
            name = "on" if name is True else name  # YAML reads the key `on` as true
            if name in lines:
                self.problems.append(
                    f"'{key.value}' is given twice, in lines {lines[name]} and {line}: YAML would keep the second alone; "
                    "remove or rename one of them"
                )
            lines.setdefault(name, line)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
            if type(value) is int:
                str(value)  # ValueError if it has more digits than Python converts
            return value
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # such as a month 13, or a number of thousands of digits
            raise yaml.constructor.ConstructorError(
                None, None, f"can't be read as {node.tag}: {error}", node.start_mark
            ) from None


def _misread(node: yaml.ScalarNode) -> str:
    """What to say of a number without quotes that YAML 1.1 reads as another, or that isn't finite; else an empty string."""
    value = node.value
    if node.tag in (INT, FLOAT) and ":" in value:
        return f'YAML reads {value} as a number in base 60: write it as one number, or as text, "{value}"'
    if node.tag == INT and OCTAL.fullmatch(value):
        return f'YAML reads {value} as octal, {int(value.replace("_", ""), 8)}: leave out the zero, or write text, "{value}"'
    if node.tag == FLOAT and value.lower().endswith(("inf", "nan")):
        return f"{value} is no finite number, and a finite one is needed"
    return ""


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The number of values in a node, with those of an alias counted at each of its uses."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        below = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[node] = 1 + sum(_size(n, known) for n in below)
    return known[node]
