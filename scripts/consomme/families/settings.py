"""What the families share: settings of a new model, padding, limits."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable, nearest
from consomme.common.model_files import json_mapping
from consomme.common.settings import Section, defaults

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family

GENERATION = "generation_config.json"


def merged(
    where: str, model: type[Section] | None, given: Mapping[str, Any], more: Sequence[str] = ()
) -> dict[str, Any]:
    """The section's defaults with the given settings over them. ConsommeError for a key neither there nor in `more`."""
    given = {k: v for k, v in given.items() if k != "family"}
    own = defaults(model)
    allowed = [*own, *more]
    for key in given:
        if key not in allowed:
            raise ConsommeError(
                f"{where}.{key}: no such setting{nearest(key, allowed)}; allowed: {', '.join(sorted(set(allowed)))}"
            )
    return {**own, **given}


def new_model(family: Family, settings: Mapping[str, Any], fixed: Mapping[str, Any], seed: int) -> PreTrainedModel:
    """A model with random weights that depend on `seed` alone. `settings` and `fixed` are keys of the config."""
    import torch
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    config_class = getattr(transformers, family.config)
    known = config_class().to_dict()
    for key in settings:
        if key not in known:
            raise ConsommeError(f"scratch.{key}: {family.config} has no such setting{nearest(key, known)}")
    try:
        config = config_class(**typed(config_class, {**settings, **fixed}))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return getattr(transformers, family.architecture)(config).eval()
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise ConsommeError(f"scratch: {family.architecture} refuses these settings: {error}") from error


def typed(config_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a config, whole numbers as floats where it takes nothing else: 1.0 is 1 in a job's JSON."""
    floats = {f.name for f in fields(config_class) if f.type in (float, "float")}
    return {k: float(v) if k in floats and type(v) is int else v for k, v in settings.items()}


def save(model: PreTrainedModel, processor: Any, out: Path) -> None:
    """Write config, one model.safetensors, generation config and processor files to the folder `out`."""
    quiet()
    model.save_pretrained(out, max_shard_size="1TB")
    processor.save_pretrained(out)


def padded(rows: Sequence[Sequence[int]] | Sequence[np.ndarray], value: int) -> Tensor:
    """Token ids as one int64 tensor [batch, longest], padded at the right."""
    import torch

    result = torch.full((len(rows), max(map(len, rows), default=0)), value, dtype=torch.int64)
    for i, row in enumerate(rows):
        result[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return result


def to_model(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch on the model's device, its floating-point tensors in the model's precision."""
    return {
        k: v.to(model.device, model.dtype if v.is_floating_point() else v.dtype, non_blocking=True)
        for k, v in batch.items()
    }


def capped(decoding: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The decoding settings with max_new_tokens no more than the model has positions for."""
    wanted = decoding.get("max_new_tokens")
    return {**decoding, "max_new_tokens": limit if wanted is None else min(int(wanted), limit)}


# the same text at every call, one a row; a checkpoint's generation_config.json may want something else
ONE_ANSWER: Mapping[str, Any] = {
    "do_sample": False,
    "num_beam_groups": 1,
    "penalty_alpha": 0.0,  # of contrastive search
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
}


def options_for(model: PreTrainedModel, options: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The argument of `generate` for these settings, GenerationConfig's names, laid over the model's own.

    own: what the architecture's `generate` reads besides; a published generation_config.json may not name it.
    What a checkpoint says of penalties and suppressed tokens holds. Sampling doesn't, unless the settings ask for it."""
    config = copy.deepcopy(model.generation_config)
    config.max_length = None  # gives way to max_new_tokens
    unknown = config.update(**{"use_cache": True, **ONE_ANSWER, **options})
    for key in unknown:
        raise ConsommeError(f"decoding.{key}: generate has no such setting{nearest(key, config.to_dict())}")
    for key, value in own.items():
        setattr(config, key, value)
    return {"generation_config": config}


def own_generation_config(model: PreTrainedModel, path: Path) -> None:
    """Give a model the generation_config.json of its folder, if there is one. transformers takes defaults in place of one that
    it can't read, and decodes otherwise with them. ConsommeError for such a file."""
    import transformers

    if (path / GENERATION).is_file():
        json_mapping(path / GENERATION)
        model.generation_config = transformers.GenerationConfig.from_pretrained(path, local_files_only=True)


def quiet() -> None:
    """No progress bars of transformers in a job's log, and no remarks of its code about itself."""
    import logging
    import warnings

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")  # WavLM's own doing
    for name in ("transformers.generation", "transformers.models.whisper.generation_whisper"):
        logging.getLogger(name).setLevel(logging.ERROR)


def pieces(model: Any, vocabulary: Container[str]) -> tuple[str, dict[str, float]]:
    """Of a SentencePieceProcessor: its kind, unigram or bpe, and the score of each piece that `vocabulary` has."""
    special = (model.is_control, model.is_unknown, model.is_unused, model.is_byte)
    ids = [i for i in range(model.get_piece_size()) if not any(is_so(i) for is_so in special)]
    scores = {model.id_to_piece(i): model.get_score(i) for i in ids}
    # the library doesn't tell, but merges have ranks for scores, 0, -1, -2 ..., and not all log probabilities are whole
    kind = "bpe" if all(score == int(score) for score in scores.values()) else "unigram"
    return kind, {piece: score for piece, score in scores.items() if piece in vocabulary}


def mono(source: np.ndarray | str) -> np.ndarray:
    """The waveform as float32 [samples]. Unusable if it is empty or has several channels."""
    import numpy as np

    if isinstance(source, str):
        raise TypeError("a waveform is needed, not text")
    wave = np.asarray(source, dtype=np.float32)
    if wave.ndim != 1 or not len(wave):
        raise Unusable("no audio", f"shape {wave.shape}; one channel with at least one sample is needed")
    return wave
