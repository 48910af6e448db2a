"""The file that whisper.cpp reads: names, tokens, 8-bit blocks, and what can't be written."""

import json
import struct

import numpy as np
import pytest

from consomme.formats.ggml import convert as ggml
from consomme.formats.ggml.convert import openai_name, q8_0, unfit

TINY = {
    "d_model": 384,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "max_source_positions": 1500,
    "vocab_size": 51865,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
}


def values(blocks):
    """What whisper.cpp reads of them."""
    return blocks["scale"].astype(np.float32)[:, None] * blocks["values"]


def test_a_block_is_a_scale_and_multiples_of_it():
    exact = np.arange(-127, -127 + 32, dtype=np.float32)[None]
    (block,) = q8_0(exact)
    assert block["scale"] == 1 and block["values"].tolist() == exact[0].tolist()
    assert q8_0(np.zeros((1, 32), np.float32)).tobytes() == bytes(34)
    halves = np.array([[127.0, 0.5, -0.5, 1.5, *[0.0] * 28]], np.float32)
    assert q8_0(halves)["values"][0][:4].tolist() == [127, 1, -1, 2]  # halves away from zero


def test_no_number_moves_by_more_than_half_a_step():
    given = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    blocks = q8_0(given)
    assert (len(blocks), blocks.dtype.itemsize) == (64 * 3, 34)
    error = np.abs(values(blocks) - given.reshape(-1, 32))
    step = np.abs(given.reshape(-1, 32)).max(1) / 127
    assert (error <= 0.5 * step[:, None] + 127 * step[:, None] * 2**-11).all()  # the scale itself is a float16


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("encoder.conv1.weight", "encoder.conv1.weight"),
        ("encoder.embed_positions.weight", "encoder.positional_embedding"),
        ("encoder.layers.3.self_attn.k_proj.weight", "encoder.blocks.3.attn.key.weight"),
        ("encoder.layers.0.final_layer_norm.bias", "encoder.blocks.0.mlp_ln.bias"),
        ("encoder.layer_norm.weight", "encoder.ln_post.weight"),
        ("decoder.embed_tokens.weight", "decoder.token_embedding.weight"),
        ("decoder.layers.11.encoder_attn.out_proj.bias", "decoder.blocks.11.cross_attn.out.bias"),
        ("decoder.layers.2.encoder_attn_layer_norm.weight", "decoder.blocks.2.cross_attn_ln.weight"),
        ("decoder.layers.2.fc2.weight", "decoder.blocks.2.mlp.2.weight"),
        ("decoder.layer_norm.bias", "decoder.ln.bias"),
    ],
)
def test_tensors_have_openais_names(ours, theirs):
    assert openai_name(ours) == theirs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"vocab_size": 51866}, None),
        ({"decoder_ffn_dim": 1152}, "feed-forward"),
        ({"max_source_positions": 300}, "30 s"),
        ({"vocab_size": 4000}, "vocabulary"),
    ],
)
def test_what_whisper_cpp_takes_for_granted_is_checked(change, words):
    found = unfit(TINY | change)
    assert found is None if words is None else words in found


def test_tokens_are_bytes_in_the_order_of_their_ids(tmp_path):
    vocabulary = {"a": 0, "Ġhe": 1, "Ã©": 2, "Ċ": 3, "<|endoftext|>é€": 4}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    assert ggml.tokens_of(tmp_path) == [b"a", b" he", "é".encode(), b"\n"]


def test_the_head_says_the_sizes(tmp_path):
    config = TINY | {"encoder_layers": 4, "decoder_layers": 2, "max_target_positions": 448, "num_mel_bins": 80}
    with open(tmp_path / "head", "wb") as stream:
        ggml.head(stream, config, "q8_0")
    found = struct.unpack("<12i", (tmp_path / "head").read_bytes())
    assert found == (0x67676D6C, 51865, 1500, 384, 6, 4, 448, 384, 6, 2, 80, 2007)


def test_what_float16_can_not_hold_is_refused():
    from consomme.common.errors import ConsommeError

    with pytest.raises(ConsommeError, match="big has values too large for float16"):
        ggml.halved("big", np.array([1e6], np.float32))
