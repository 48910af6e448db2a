"""The reference of all keys, made of the settings (consomme.plan.reference): no key is described twice by hand.

Examples are taken from the YAML blocks of the pages, which tests load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from consomme.families import TABLE as FAMILIES
from consomme.plan.reference import KeyReference, SectionReference, keys_of, sections

ROOT = Path(__file__).resolve().parents[2]
PAGES_WITH_EXAMPLES = ["config/README.md", "docs/*.md", "docs/tutorials/*.md"]
VERBS = ("from", "train", "average", "prune", "export")
# page: its title, and the kinds of sections that it begins with; what these hold, and no page before has, follows them
PAGES = {
    "configuration": ("The whole file", ("configuration", "experiment")),
    "corpora": ("corpora", ("corpus",)),
    **{verb: (verb, (verb,)) for verb in VERBS},
}
Sections = dict[str, SectionReference]


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page of the reference."""
    known = {section.name: section for section in sections()}
    samples: dict[str, list[Any]] = {}
    for block in blocks():
        collect(known, "Configuration", {"experiments": {"": block}} if "models" in block else block, samples)
    homes = homes_of(known)
    yield "index", index(known, homes)
    for page, (title, _) in PAGES.items():
        parts = [known[name] for name, home in homes.items() if home == page]
        yield page, f"# {title}\n\n" + "\n".join(part(known, section, homes, samples) for section in parts)
    yield "scratch", scratch()


def blocks() -> Iterator[dict[str, Any]]:
    """The YAML blocks of the pages."""
    for pattern in PAGES_WITH_EXAMPLES:
        for path in sorted(set(ROOT.glob(pattern)) - {ROOT / "docs" / "extending.md"}):  # which has words of its own
            for block in re.findall(r"^```yaml\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
                yield yaml.safe_load(block)


def items(known: Sections, name: str) -> list[SectionReference]:
    """The sections of the items that a section chooses among, such as the methods of an average."""
    return [section for section in known.values() if section.of == name]


def collect(known: Sections, name: str, value: Any, samples: dict[str, list[Any]]) -> None:
    """Put each mapping of an example under the name of the section that describes it."""
    if not isinstance(value, dict):
        for below in value if isinstance(value, list) else []:
            collect(known, name, below, samples)
        return
    if name == "Corpus" and value.get("source") == "relabelled":
        name = "Relabelled"
    if name in verbs_of(known).values():
        name = next((section for verb, section in verbs_of(known).items() if verb in value), name)
    keys = {key.name: key for section in (known[name], *items(known, name)) for key in section.keys}
    if not set(value) & set(keys) or (name in ("Corpus", "Relabelled") and "source" not in value):
        for below in value.values():  # names, such as those of corpora or of development sets
            collect(known, name, below, samples)
        return
    for section in (known[name], *items(known, name)):
        if section.of == "" or value.get(section.by, "") == section.item:
            samples.setdefault(section.name, []).append(value)
    for key in keys.values():
        if key.section and key.name in value:
            collect(known, key.section, value[key.name], samples)


def verbs_of(known: Sections) -> dict[str, str]:
    return {section.kind: section.name for section in known.values() if section.kind in VERBS and not section.of}


def homes_of(known: Sections) -> dict[str, str]:
    """The page of each section, in the order in which they stand there; items stand with what chooses them."""
    homes: dict[str, str] = {}

    def add(name: str, page: str) -> None:
        if name in homes or known[name].of:
            return
        homes[name] = page
        for section in (known[name], *items(known, name)):
            for key in section.keys:
                if key.section and known[key.section].kind == "section":
                    add(key.section, page)

    for page, (_, kinds) in PAGES.items():
        for section in known.values():
            if section.kind in kinds:
                add(section.name, page)
    return homes


def part(known: Sections, section: SectionReference, homes: dict[str, str], samples: dict[str, list[Any]]) -> str:
    """One section: what it is, each of its keys, and the items that it chooses among with theirs."""
    title = f"`{section.title}`" if section.kind in VERBS else section.title.capitalize()
    lines = [f"## {title} {{#{anchor(section)}}}", "", section.description, ""]
    lines += [entry(known, section, key, homes, samples) for key in section.keys]
    if found := items(known, section.name):
        lines += [f"### The values of `{found[0].by}` {{#{anchor(section)}-{found[0].by}-values}}", ""]
        lines += ["| value | what it is | keys of its own |", "| --- | --- | --- |"]
        for item in found:
            own = ", ".join(f"`{key.name}`" for key in item.keys)
            lines.append(f"| `{item.item}` | {cell(item.description)} | {own} |")
        lines.append("")
        shared: dict[KeyReference, list[SectionReference]] = {}
        for item in found:
            for key in item.keys:
                shared.setdefault(key, []).append(item)
        lines += [entry(known, owners[0], key, homes, samples, owners) for key, owners in shared.items()]
    return "\n".join(lines)


def entry(
    known: Sections,
    section: SectionReference,
    key: KeyReference,
    homes: dict[str, str],
    samples: dict[str, list[Any]],
    owners: Sequence[SectionReference] = (),
) -> str:
    """One key: its facts in a line, what it means, an example."""
    kind = key.type
    if key.section:
        home = homes[key.section]
        where = "" if home == homes[section.of or section.name] else f"{home}.md"
        kind = f"[{kind}]({where}#{anchor(known[key.section])})"
    facts = [f"**Type** {kind}"]
    facts += [f"**Allowed** {key.allowed}"] if key.allowed else []
    facts += ["**Needed**"] if key.default == "(needed)" else []
    facts += [f"**Default** `{key.default}`"] if key.default not in ("(needed)", "", "{}", "[]") else []
    lines = [f"### `{key.name}` {{#{anchor(section)}-{key.name}}}", ""]
    if owners:
        lines += [f"For `{section.by}`: {', '.join(f'`{owner.item}`' for owner in owners)}.", ""]
    lines += [" · ".join(facts), "", sentence(key.description), ""]
    if example := example_of(key, [one for owner in owners or [section] for one in samples.get(owner.name, [])]):
        lines += ["```yaml", example, "```", ""]
    return "\n".join(lines)


def anchor(section: SectionReference) -> str:
    return section.name.lower().replace(":", "-")


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def sentence(text: str) -> str:
    """A description as a sentence; `asr: ...` keeps its small letters."""
    begun = text if re.match(r"\w+(, \w+)*:", text) else text[:1].upper() + text[1:]
    return begun + ("" if not text or text.endswith((".", "!", "?")) else ".")


def example_of(key: KeyReference, samples: list[Any]) -> str | None:
    """The shortest example of a key in the pages, or that of its model; a node that is swept lacks what the sweep sets."""
    whole = [sample for sample in samples if key.name in sample and (key.name == "sweep" or "sweep" not in sample)]
    found = sorted((f"{key.name}: {spelt(sample[key.name])}" for sample in whole), key=len)
    if found and len(found[0]) <= 200:
        return found[0]
    return f"{key.name}: {key.example}" if key.example else None


def spelt(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def index(known: Sections, homes: dict[str, str]) -> str:
    lines = [
        "# Reference",
        "",
        "Every key of a configuration, made from the settings that the program checks with.",
        "",
    ]
    lines += ["| page | sections |", "| --- | --- |"]
    for page, (title, _) in PAGES.items():
        names = [
            f"[{known[name].title}]({page}.md#{anchor(known[name])})" for name, home in homes.items() if home == page
        ]
        lines.append(f"| [{title}]({page}.md) | {', '.join(names)} |")
    lines += ["| [scratch](scratch.md) | each architecture with random weights, and its tokenizer |", ""]
    lines += [
        '**Numbers** may be written as `0.00001`, `1e-5`, `"1e-5"` or `1/100000`. **Needed** keys have no default.',
        "",
    ]
    lines += [
        "Examples are taken from these pages. The [guide](../configuration.md) shows how a configuration is put together.",
        "",
    ]
    return "\n".join(lines)


def scratch() -> str:
    """Each architecture's settings from scratch, with their defaults."""
    lines = [
        "# scratch",
        "",
        "`from: {scratch: {family: NAME, ...}, tokenizer: {...}}`: architectures with random weights.",
        "",
    ]
    lines += ["Keys have the names of the architecture's config. The defaults train on a processor.", ""]
    for name, family in FAMILIES.items():
        if not family.scratch:
            continue
        lines += [f"## `{name}` {{#{name}}}", "", f"Task `{family.task}`, `{family.config}`.", ""]
        for title, settings in (("scratch", family.scratch), ("tokenizer", family.tokenizer)):
            if settings:
                lines += [f"| {title} | default | allowed | what it is |", "| --- | --- | --- | --- |"]
                lines += [
                    f"| `{key.name}` | `{key.default or 'null'}` | {cell(key.allowed)} | {cell(key.description)} |"
                    for key in keys_of(settings)
                ]
                lines.append("")
    return "\n".join(lines)
