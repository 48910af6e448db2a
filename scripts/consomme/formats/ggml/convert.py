"""ggml: the file that whisper.cpp reads, and what is built on it for telephones and browsers.

A file is, all little-endian: the magic number, eleven sizes, the mel filters, the tokens as bytes, and each tensor with its
sizes (the last first), name and type. Names are OpenAI's. Matrices are float16, or blocks of 32 numbers as int8 with a
float16 scale (q8_0); vectors, positions and nothing else are float32 (whisper.cpp's `convert-h5-to-ggml.py` and
`quantize.cpp` write the same)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.formats.ggml.run import FILE

if TYPE_CHECKING:
    import numpy as np

    from consomme.weights.tensors import Weights

MAGIC = 0x67676D6C
F32, F16, Q8_0 = 0, 1, 8  # types of a tensor
FILE_TYPES = {
    "float16": 1,
    "q8_0": 2007,
}  # of a file: mostly float16; mostly q8_0, in the second form of quantised numbers
BLOCK = 32  # numbers that share a scale
ENGLISH, SEVERAL = 51864, 51865  # sizes of the vocabularies that whisper.cpp tells apart; one more for large-v3's
WINDOW = 1500  # positions of 30 s, which are fixed there
PARTS = {
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
}
WHOLE = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "encoder.layer_norm": "encoder.ln_post",
    "decoder.layer_norm": "decoder.ln",
}
EXACT = ("encoder.positional_embedding", "decoder.positional_embedding")  # never rounded


class Settings(Section):
    """Settings of ggml."""

    quantization: Literal["float16", "q8_0"] = Field("float16", description="type of the matrices")


def write(model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
    """Write `ggml-model.bin`. ConsommeError for a Whisper that whisper.cpp can't have."""
    from consomme.common.files import read_json
    from consomme.families import family_of
    from consomme.formats.stock import keep_source, stock
    from consomme.weights.tensors import Weights

    source = stock(model, work)
    config = read_json(source / "config.json")
    if reason := unfit(config):
        raise ConsommeError(f"format: {model} can't be written as ggml: {reason}; export it as ctranslate2")
    extractor = family_of(source).processor(source).feature_extractor
    kind = settings["quantization"]
    with Weights(source) as weights, open(folder / FILE, "wb") as stream:
        head(stream, config, kind)
        filters = _array(extractor.mel_filters).T
        stream.write(struct.pack("<2i", *filters.shape) + filters.astype("<f4").tobytes())
        tokens = tokens_of(source)
        stream.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            stream.write(struct.pack("<i", len(token)) + token)
        for name, values in _tensors(weights):
            _tensor(stream, name, values, kind)
    keep_source(source, folder)


def unfit(config: Mapping[str, Any]) -> str | None:
    """Why whisper.cpp can't have a Whisper with this config.json, or None if it can."""
    for side in ("encoder", "decoder"):
        if config[f"{side}_ffn_dim"] != 4 * config["d_model"]:
            return f"its {side}'s feed-forward layers aren't four times as wide as the model"
    if config["max_source_positions"] != WINDOW:
        return "its window isn't 30 s"
    if config["vocab_size"] not in (ENGLISH, SEVERAL, SEVERAL + 1):
        return "its vocabulary was trimmed or is its own, and whisper.cpp knows special tokens by their numbers"
    if config["encoder_attention_heads"] != config["decoder_attention_heads"]:
        return "its sides have different numbers of heads"
    return None


def head(stream: BinaryIO, config: Mapping[str, Any], kind: str) -> None:
    width, heads = config["d_model"], config["encoder_attention_heads"]
    sizes = [
        *(config["vocab_size"], config["max_source_positions"], width, heads, config["encoder_layers"]),
        *(config["max_target_positions"], width, heads, config["decoder_layers"]),
        *(config["num_mel_bins"], FILE_TYPES[kind]),
    ]
    stream.write(struct.pack("<12i", MAGIC, *sizes))


def tokens_of(source: Path) -> list[bytes]:
    """The plain tokens in the order of their ids, as bytes; whisper.cpp names the special ones behind them itself."""
    from consomme.common.files import read_json

    file = source / "vocab.json"
    vocabulary = read_json(file) if file.is_file() else read_json(source / "tokenizer.json")["model"]["vocab"]
    letters = _bytes_of_letters()
    plain = {number: token for token, number in vocabulary.items() if set(token) <= letters.keys()}
    return [bytes(letters[letter] for letter in plain[i]) for i in range(len(plain)) if i in plain]


def _bytes_of_letters() -> dict[str, int]:
    """The letters of byte-level BPE (Radford et al. 2019): printable bytes stand for themselves, the others for the letters
    from 256 on."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    found = {chr(byte): byte for byte in own}
    others = [byte for byte in range(256) if byte not in own]
    return found | {chr(256 + i): byte for i, byte in enumerate(others)}


def _tensors(weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    """OpenAI's name and float32 values of each tensor; the output layer is the token embedding."""
    from consomme.weights.tensors import to_float32

    for name, slot in weights.slots.items():
        if name != "proj_out.weight":
            yield openai_name(name.removeprefix("model.")), to_float32(weights.whole(name), slot.dtype)


def openai_name(name: str) -> str:
    """OpenAI's name of a tensor, from transformers' without its first part."""
    if name in WHOLE:
        return WHOLE[name]
    part, _, kind = name.rpartition(".")
    if part in WHOLE:
        return f"{WHOLE[part]}.{kind}"
    side, _, inside = part.partition(".layers.")
    if not inside:
        return name  # convolutions
    number, _, place = inside.partition(".")
    return f"{side}.blocks.{number}.{PARTS[place]}.{kind}"


def _tensor(stream: BinaryIO, name: str, values: np.ndarray, kind: str) -> None:
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        values = values[:, None]
        code = F32
    elif values.ndim < 2 or name in EXACT:
        code = F32
    else:
        code = Q8_0 if kind == "q8_0" and values.ndim == 2 else F16
    written = {F32: lambda: values.astype("<f4"), F16: lambda: halved(name, values), Q8_0: lambda: q8_0(values)}[code]()
    sizes = values.shape[::-1]
    encoded = name.encode()
    stream.write(struct.pack(f"<3i{len(sizes)}i", len(sizes), len(encoded), code, *sizes) + encoded)
    stream.write(written.tobytes())


def halved(name: str, values: np.ndarray) -> np.ndarray:
    """The values in float16. ConsommeError if one is too large."""
    import numpy as np

    with np.errstate(over="ignore"):
        found = values.astype("<f2")
    if not np.isfinite(found).all():
        raise ConsommeError(f"quantization: {name} has values too large for float16, which ggml needs")
    return found


def q8_0(values: np.ndarray) -> np.ndarray:
    """Blocks of 32 numbers of a row as a float16 scale, the largest magnitude over 127, and int8 multiples of it: bytes."""
    import numpy as np

    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(scales > 0, 1 / scales, 0).astype(np.float32)
    found: Any = np.empty(len(blocks), np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)]))
    found["scale"] = scales[:, 0]
    found["values"] = _away_from_zero(blocks * inverse)
    return found


def _away_from_zero(values: np.ndarray) -> np.ndarray:
    """Rounded as C's roundf does: halves away from zero."""
    import numpy as np

    return np.trunc(values + np.copysign(np.float32(0.5), values))


def _array(values: Any) -> np.ndarray:
    import numpy as np

    return np.asarray(values, dtype=np.float32)
