"""The zeroed copy of a head-pruned model: the stock shape, with zeros where the heads were, for tools that need that
shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.model_files import ZEROED, copy_inherited
from consomme.families import family_of
from consomme.weights.mean import precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CROSS = "decoder.cross"


def write_zeroed_copy(folder: Path, out: Path | None = None) -> Path:
    """Write the zeroed copy of a checkpoint with `pruned_heads` in its config to `out` (default: `folder`/zeroed).

    Plain `from_pretrained` loads it. It computes the same as the sliced model, up to rounding, and is as slow as the
    unpruned model. Returns the folder."""
    from consomme.families.surgery import zeroed_copy

    out = out or folder / ZEROED
    out.mkdir(parents=True, exist_ok=True)
    copy_inherited(folder, out)
    model = zeroed_copy(folder, family_of(folder))
    _align(model, folder)
    save(model, out, precision(folder))
    return out


def save(model: PreTrainedModel, folder: Path, dtype: str) -> None:
    """Save weights and config in a floating dtype, given by its safetensors name."""
    import torch

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    model.to("cpu", kinds[dtype]).save_pretrained(folder, max_shard_size="1TB")


def _align(model: PreTrainedModel, folder: Path) -> None:
    """Renumber the cross-attention heads that give word timestamps, [layer, head], as in the stock shape."""
    from consomme.common.files import read_json

    generation: Any = getattr(model, "generation_config", None)
    pairs = getattr(generation, "alignment_heads", None)
    if not pairs:
        return
    gone = {int(n): set(h) for n, h in read_json(folder / "config.json")["pruned_heads"].get(CROSS, {}).items()}
    count = model.config.decoder_attention_heads
    stay = {layer: [h for h in range(count) if h not in lost] for layer, lost in gone.items()}
    generation.alignment_heads = [[n, stay[n][h] if n in stay else h] for n, h in pairs]
