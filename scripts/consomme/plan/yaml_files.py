"""YAML files with strict checks: keys given twice, recursive or exploding aliases are errors, with line numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from consomme.common.errors import ConsommeError

MOST = 1_000_000  # values of a file, each counted wherever an alias repeats it


def load(file: Path | str) -> Any:
    """The content of a YAML file. ConsommeError if it doesn't exist, isn't YAML, gives a key twice, or has an alias that
    contains itself."""
    try:
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
        if loader.twice:
            raise ConsommeError("\n".join(f"{file}: {problem}" for problem in loader.twice))
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
    """twice: an error line per key that a mapping gives twice. Overriding a key of a merged mapping (<<) is allowed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        node = super().compose_node(parent, index)
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

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key)
            name = "on" if name is True else name  # YAML reads the key `on` as true
            line = key.start_mark.line + 1
            if name in lines:
                self.twice.append(
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


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The number of values in a node, with those of an alias counted at each of its uses."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        below = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[node] = 1 + sum(_size(n, known) for n in below)
    return known[node]
