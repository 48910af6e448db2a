"""`python -m consomme.results`: the tables and their columns, in Markdown."""

from __future__ import annotations

from consomme.results.columns import TABLES


def described() -> str:
    """A heading and a table of columns for each table."""
    parts = []
    for table in TABLES.values():
        lines = [f"### `{table.name}`", "", f"{table.what[0].upper()}{table.what[1:]}.", ""]
        lines += ["| column | type | |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {kind} | {meaning} |" for name, (kind, meaning) in table.columns.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(described())
