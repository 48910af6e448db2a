"""The table of export formats. A new format is one small file and one line here, or an entry point of another
package in the group `consomme.exports` that loads to a `Format`. Importing this imports nothing heavy."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.export.formats.base import Format
from consomme.export.formats.ctranslate2 import CTRANSLATE2
from consomme.export.formats.safetensors import SAFETENSORS

__all__ = ["TABLE", "Format", "format_named"]

TABLE: Table[Format] = Table("export format", "consomme.exports", SAFETENSORS, CTRANSLATE2)
format_named = TABLE.named
