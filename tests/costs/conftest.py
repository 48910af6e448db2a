"""A prepared corpus for what is measured on it."""

import pytest

from consomme.common.files import write_json
from consomme.data.prepared import Writer


@pytest.fixture
def corpus():
    """Write a prepared corpus of translations, the source being its own target."""

    def write(folder, texts):
        folder.mkdir()
        with Writer(folder / "rows.arrow", "nmt") as writer:
            for i, text in enumerate(texts):
                row = {"id": str(i), "speaker": None, "document": None, "recordings": []}
                writer.add({**row, "source": text, "target": text})
        facts = {"task": "nmt", "name": folder.name, "rows": writer.rows, "version": 1}
        write_json(folder / "prepared.json", {**facts, "fingerprint": writer.fingerprint()})

    return write
