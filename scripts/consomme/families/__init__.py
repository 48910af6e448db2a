"""Families: one record an architecture, the only place that knows an architecture by name.

Another package adds one through an entry point of the group `consomme.families`, whose name is the family's word in
configurations and whose object is a `Family`. Nothing here imports torch before a model is loaded.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common import gpus
from consomme.common.errors import ConsommeError, naming
from consomme.common.files import read_json
from consomme.common.model_files import config as config_of
from consomme.common.table import Table
from consomme.common.tensor_files import SINGLE, header
from consomme.families import (
    auto,
    canary,
    ctc,
    hubert,
    m2m_100,
    marian,
    mbart,
    moonshine,
    nemotron,
    parakeet,
    speech2text,
    t5,
    transducers,
    wav2vec2,
    wavlm,
    whisper,
)
from consomme.families.base import Attention, Family, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "TABLE",
    "Attention",
    "Family",
    "Stack",
    "device_named",
    "family_for",
    "family_named",
    "family_of",
    "family_published",
    "load",
]


TABLE: Table[Family] = Table(
    "family",
    "consomme.families",
    ctc.FAMILY,
    wav2vec2.FAMILY,
    hubert.FAMILY,
    wavlm.FAMILY,
    parakeet.FAMILY,
    transducers.RNNT,
    transducers.TDT,
    nemotron.STREAMING,
    nemotron.PROMPTED,
    whisper.FAMILY,
    speech2text.FAMILY,
    moonshine.FAMILY,
    moonshine.STREAMING,
    canary.CANARY,
    canary.COHERE,
    marian.FAMILY,
    m2m_100.FAMILY,
    mbart.FAMILY,
    t5.FAMILY,
    auto.CTC,
    auto.SPEECH,
    auto.TEXT,
)
family_named = TABLE.named


def family_of(path: Path | str) -> Family:
    """The family of a checkpoint folder, by the model_type in its config.json."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise ConsommeError(
            f"{path}: no config.json there, so it is no model; a model is a Hugging Face checkpoint folder"
        )
    return family_for(Path(path), config_of(Path(path)))


def family_for(folder: Path, config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint folder whose config.json holds `config`: by its model_type, or else what transformers'
    auto classes make of it. ConsommeError if it can be neither."""
    kind = config.get("model_type")
    if not kind:
        raise ConsommeError(
            f"{folder}: its config.json names no model_type, so this is no checkpoint of transformers. An export for another "
            "engine, such as CTranslate2, runs in that engine: name the model that it was made of"
        )
    for name in TABLE:
        if TABLE[name].model_type == kind:
            return TABLE[name]
    try:
        return auto.family_for(folder, config)
    except ConsommeError as error:
        allowed = ", ".join(f"{TABLE[n].model_type} ({n})" for n in TABLE if TABLE[n].model_type)
        raise ConsommeError(
            f"{folder / 'config.json'}: model_type '{kind}' belongs to no family, and {error}; allowed: {allowed}, and other CTC "
            "models and encoder-decoders of transformers"
        ) from error


def family_published(name: str) -> Family | None:
    """The family of a checkpoint of the hub as its name says it; None where no family's word is in it."""
    found = [(len(word), f.name) for f in TABLE.values() for word in f.published if word in name.lower()]
    return TABLE[max(found)[1]] if found else None


def device_named(name: str) -> str:
    """`auto` is what CONSOMME_DEVICE says, else cuda where there is one and cpu elsewhere; any other name stands for itself. Of
    several GPUs of this machine, the process then has one that no other job has, if there is one.

    ConsommeError where Slurm gave the job a GPU that torch can't use: it would compute for days what takes hours."""
    if name == "auto":
        name = os.environ.get("CONSOMME_DEVICE", "auto")
    if name in ("auto", "cuda"):
        gpus.lease()
    if name != "auto":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "") if "SLURM_JOB_ID" in os.environ else ""
    if re.match(r"\d|GPU|MIG", given):
        raise ConsommeError(
            f"Slurm gave this job GPU {given} of {socket.gethostname()}, and torch {torch.__version__} finds no CUDA there: is "
            "the driver too old, or this torch made for processors (docs/install.md)? To use the processor, take `gpu` out of "
            "the profile's set-resources, or set CONSOMME_DEVICE=cpu"
        )
    return "cpu"


def load(path: Path | str, device: str = "cpu") -> PreTrainedModel:
    """The model of a checkpoint folder in float32 and evaluation mode, on `device` (or "auto").

    This is also the one call that loads a model with heads cut out (its config.json names them under `pruned_heads`) and
    an ensemble (its ensemble.json names the members). Reads safetensors only."""
    import torch
    import transformers

    from consomme.families.ensemble import FILE, ensemble
    from consomme.families.settings import own_generation_config, quiet
    from consomme.families.surgery import complain, load_sliced, zero

    quiet()
    path = Path(path)
    family = family_of(path)
    if (path / FILE).is_file():
        return ensemble([load(path / member, device) for member in read_json(path / FILE)["members"]])
    if not (path / SINGLE).is_file():
        raise ConsommeError(f"{path}: no {SINGLE} there; a model folder has its weights in that one file")
    header(path / SINGLE, str(path))
    kind = getattr(transformers, family.architecture)
    if config_of(path).get("pruned_heads"):
        model = load_sliced(path, family)
    else:
        try:
            with naming(path, path):
                model, report = kind.from_pretrained(
                    path,
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    ignore_mismatched_sizes=True,  # `complain` names them
                    output_loading_info=True,
                )
        # an unlisted architecture that the installed transformers doesn't have, or values in config.json that it can't use
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise ConsommeError(f"{path}: {family.architecture} can't load it: {error}") from error
        if model.can_generate():
            own_generation_config(model, path)
        complain(path, report, family.optional)
        zero(model, report["missing_keys"])
    return model.to(device_named(device)).eval()
