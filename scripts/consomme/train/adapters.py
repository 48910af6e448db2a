"""LoRA (Hu et al. 2021, arXiv 2106.09685) by peft: train low-rank updates, and merge them into the weights at the end.

Their own files are those that peft writes and reads, with the names of the modules in the model that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from consomme.common.errors import ConsommeError
from consomme.families.surgery import groups

FACTORS = "adapter_model.safetensors"  # peft's name

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def attach(model: PreTrainedModel, family: Family, settings: Mapping[str, Any]) -> LoraModel:
    """Put adapters into `model`, in place, and freeze all else. settings: r, lora_alpha, lora_dropout, target_modules
    (patterns of module names; None: the queries and values of every attention), use_rslora, use_dora."""
    from peft import LoraConfig, LoraModel

    config = LoraConfig(
        r=settings["r"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules=targets(model, family, settings.get("target_modules")),
        bias="none",
        use_rslora=bool(settings.get("use_rslora")),
        use_dora=bool(settings.get("use_dora")),
    )
    return LoraModel(model, config, "default")


def targets(model: PreTrainedModel, family: Family, wanted: Sequence[str] | None) -> list[str]:
    """Full names of the linear modules that get adapters."""
    from torch import nn

    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if wanted is None:
        wanted = [
            f"{stack.layers}.*.{attention.path}.{projection}"
            for _, stack, attention in groups(family)
            for projection in (attention.query, attention.value)
        ]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in linear):
            raise ConsommeError(
                f"lora.target_modules: no linear module has a name like '{pattern}'; there are {', '.join(linear[:3])}, ..."
            )
    return [name for name in linear if any(fnmatchcase(name, pattern) for pattern in wanted)]


def save(adapted: LoraModel, folder: Path) -> None:
    """Write the adapters to `folder`, as peft does: `PeftModel.from_pretrained(parent, folder)` puts them onto the model that
    they were trained on."""
    from copy import copy

    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    found = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # peft's own wrapper, which we do without, adds a level to the names
    factors = {f"base_model.{name}": t.detach().float().cpu().contiguous() for name, t in found.items()}
    config = cast(LoraConfig, copy(adapted.peft_config["default"]))
    config.inference_mode, config.target_modules = True, sorted(config.target_modules or ())
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    save_file(factors, folder / FACTORS, {"format": "pt"})


def merge(adapted: LoraModel) -> PreTrainedModel:
    """The model without adapters, their updates added to its weights."""
    merged: Any = adapted.merge_and_unload()
    return merged
