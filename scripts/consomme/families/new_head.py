"""A pretrained encoder with another output layer: a CTC head of random weights over a new vocabulary.

What self-supervised pretraining leaves has no head and no tokenizer; a recogniser of one language has those of another
one. Either way the encoder's weights stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.tensor_files import header
from consomme.families.base import Family, value_of
from consomme.families.parts import HEADS, fits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASK = "masked_spec_embed"  # the vector that replaces masked frames; zero where a checkpoint has none


def extractor_of(source: Path) -> Any:
    """The feature extractor of a checkpoint folder, which need not have a tokenizer."""
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConsommeError(
            f"{source}: its feature extractor does not load; preprocessor_config.json must lie beside the weights, as "
            f"the model was published: {error}"
        ) from error


def write(family: Family, source: Path, out: Path, processor: Any, seed: int) -> None:
    """Write the model in `source` to the folder `out` with this processor and a head for its tokenizer's vocabulary.

    The head's weights are normal of the config's `initializer_range` and depend on `seed` alone, its biases are zero.
    All else keeps its bits and its stored type. ConsommeError if the encoder lacks weights or has some that the
    architecture doesn't know; what else was trained beside it (a quantizer, another head) is left behind."""
    import torch
    from safetensors.torch import save_model

    from consomme.families.settings import quiet

    quiet()
    model = _encoder(family, source, processor.tokenizer)
    _, head = _head(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.normal_(0.0, value_of(model.config, "initializer_range"), generator=generator)
        if head.bias is not None:
            head.bias.zero_()
    kind = stored_type(source.glob("model*.safetensors"))
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [family.architecture]
    model.config.dtype = kind
    model.config.save_pretrained(out)
    save_model(model.to(kind), str(out / "model.safetensors"), {"format": "pt"})
    processor.save_pretrained(out)


def stored_type(files: Iterable[Path]) -> Any:
    """The one floating-point type of the tensors in safetensors files, or float32 where they have several."""
    import torch

    types = {slot.dtype for file in files for slot in header(file, str(file.parent)).values() if "F" in slot.dtype}
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(types.pop() if len(types) == 1 else "", torch.float32)


def has_head(names: Iterable[str]) -> bool:
    """Whether a checkpoint with tensors of these names has an output layer."""
    return any(fits(name, HEADS) for name in names)


def _encoder(family: Family, source: Path, tokenizer: Any) -> PreTrainedModel:
    """The model in `source` in float32, its head made for the tokenizer's vocabulary, whatever stood there before."""
    import torch
    import transformers

    from consomme.families.surgery import complain, zero

    config = getattr(transformers, family.config).from_pretrained(source, local_files_only=True)
    if getattr(config, "pruned_heads", None):
        raise ConsommeError(f"{source}: attention heads were cut out of it; a new head needs the stock shape")
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    config.bos_token_id = config.eos_token_id = None
    model, report = getattr(transformers, family.architecture).from_pretrained(
        source,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # of the head alone: others are refused below
        output_loading_info=True,
    )
    ours = f"{_head(model)[0]}."
    # saved as a part of a larger model the encoder's names have a prefix; saved alone all names are its own
    prefix = family.stacks["encoder"].layers.partition(".")[0] + "."
    unexpected = {str(name) for name in report["unexpected_keys"]}
    stored = [name for file in source.glob("model*.safetensors") for name in header(file, str(source))]
    if any(name.startswith(prefix) for name in stored):
        unexpected = {name for name in unexpected if name.startswith(prefix)}
    missing = [name for name in report["missing_keys"] if not name.startswith(ours)]
    wrong: Mapping[str, Any] = {
        "missing_keys": missing,
        "unexpected_keys": unexpected,
        "mismatched_keys": [found for found in report["mismatched_keys"] if not str(found[0]).startswith(ours)],
    }
    complain(source, wrong, (*family.optional, MASK))
    zero(model, missing)
    return model.eval()


def _head(model: PreTrainedModel) -> tuple[str, Any]:
    """The output layer and its name."""
    return next((name, layer) for name, layer in model.named_children() if fits(f"{name}.weight", HEADS))
