"""Settings that a family can't be trained with. Checked by the plan, and again at the start of a training: when the plan
was made, the checkpoint may not have existed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consomme.families.base import Family
from consomme.families.parts import no_side


def problems(settings: Mapping[str, Any], family: Family, depth: Mapping[str, int] | None) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) for every setting of a train node that the family can't use. depth: side -> layers of
    the parent, where they are known."""
    ctc, transducer = family.objective == "ctc", family.objective == "transducer"
    for key in ("window", "full_windows"):
        if settings.get(key) is not None and not family.windows:
            yield key, f"'{family.name}' takes audio of any length and has no window"
    for key in ("timestamps", "previous_text"):
        if settings.get(key) and not family.timed:
            does = "writes no timestamps" if key == "timestamps" else "takes no earlier text"
            yield key, f"'{family.name}' {does}; this is for whisper"
    if settings.get("ctc_weight") is not None and ctc:
        yield "ctc_weight", f"'{family.name}' is trained with CTC alone; ctc_weight is for encoder-decoders"
    elif settings.get("ctc_weight") is not None and transducer:
        yield "ctc_weight", f"'{family.name}' is a transducer; ctc_weight is for encoder-decoders"
    elif settings.get("ctc_weight") is not None and type(family).output_frames is Family.output_frames:
        yield "ctc_weight", f"the number of output frames of the encoder of '{family.name}' is unknown"
    if settings.get("label_smoothing_factor") and ctc:
        yield "label_smoothing_factor", f"'{family.name}' is trained with CTC, which has no label smoothing"
    if settings.get("label_smoothing_factor") and transducer:
        yield "label_smoothing_factor", f"'{family.name}' is a transducer, whose loss has no label smoothing"
    if settings.get("distil") and transducer:
        yield (
            "distil_from",
            f"the alignments of '{family.name}', a transducer, can't be distilled; let the teacher write the texts of "
            "data.train instead (a corpus of source relabelled)",
        )
    for side in ("encoder", "decoder"):
        if settings.get(f"{side}_layerdrop") and side not in family.stacks:
            yield f"{side}_layerdrop", no_side(family, side)
    if settings.get("dropout") is not None and not family.dropouts:
        yield "dropout", f"the dropouts of '{family.name}' are unknown: its architecture is outside the table"
    if settings.get("layerwise_lr_decay") not in (None, 1) and not family.stacks:
        yield "layerwise_lr_decay", no_side(family, "encoder")
    if (settings.get("lora") or {}).get("target_modules") is None and settings.get("lora") and not family.stacks:
        yield "lora", f"the modules of '{family.name}' are unknown; name some: target_modules"
    if intermediate := settings.get("intermediate_ctc"):
        yield from _intermediate_ctc(intermediate, settings, family, depth)


def _intermediate_ctc(
    intermediate: Mapping[str, Any], settings: Mapping[str, Any], family: Family, depth: Mapping[str, int] | None
) -> Iterator[tuple[str, str]]:
    if family.objective == "transducer":
        yield "intermediate_ctc", f"'{family.name}' is a transducer and not trained with CTC"
        return
    if family.objective != "ctc" and settings.get("ctc_weight") is None:
        yield "intermediate_ctc", f"'{family.name}' is not trained with CTC unless ctc_weight is given"
    if not family.stacks:
        yield "intermediate_ctc", no_side(family, "encoder")
        return
    below = depth["encoder"] - 1 if depth and "encoder" in depth else None
    for layer in intermediate.get("layers") or []:
        if layer < 1 or (below is not None and layer > below):
            top = f"layers 1 to {below} lie below the top of this one" if below else "layers count from 1"
            yield "intermediate_ctc.layers", f"{layer} given; {top}"
    for word in ("spread", "random"):
        count = intermediate.get(word)
        if count is not None and below is not None and count > below:
            yield f"intermediate_ctc.{word}", f"{count} given; only {below} layers lie below the top"
