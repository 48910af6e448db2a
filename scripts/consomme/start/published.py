"""What the publisher of a checkpoint says of it on its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CARD = "README.md"
MOST, LONGEST = 30, 120  # entries, letters: of anything longer, the beginning


def published(source: Path) -> dict[str, Any]:
    """The names of the data sets that a checkpoint was trained on, and its licence, by the front matter of the card in its
    folder: `datasets`, `license`. Empty without a card, or where it can't be read."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    if not (source / CARD).is_file():
        return {}
    try:
        found = metadata_load(source / CARD)
    except (yaml.YAMLError, ValueError, OSError):
        return {}
    if not isinstance(found, dict):
        return {}
    facts = {"datasets": _texts(found.get("datasets")), "license": "".join(_texts(found.get("license"))[:1])}
    return {key: value for key, value in facts.items() if value}


def _texts(value: Any) -> list[str]:
    """One text or several."""
    several = value if isinstance(value, list) else [value]
    return [" ".join(text.split())[:LONGEST] for text in several if isinstance(text, str) and text.strip()][:MOST]
