"""An encoder-decoder as two ONNX graphs, in the layout that Optimum and Transformers.js read.

The decoder is traced twice: the first step makes the keys and values of what the encoder heard, the later ones are given them.
Both become branches of one graph, which share the weights. Tracing is by transformers' exporter, but for its own way to take
models apart: nothing else reads those graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import torch
import xxhash
from torch import Tensor, nn
from torch.export import Dim
from transformers import DynamicCache, EncoderDecoderCache
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter
from transformers.modeling_outputs import BaseModelOutput

from consomme.formats.onnx import layout
from consomme.formats.onnx.layout import ATTENTIONS, HEARD, IDS, LATER, MASK, OWN, PAST, PRESENT, STATES

if TYPE_CHECKING:
    from consomme.families.base import Family

# bytes of weights that lie inside of the graph's file, which browsers then read without being told of another: protobuf
# takes twice that
INSIDE = 1 << 30
# of the batch and the steps that are traced: lengths that differ from each other and from 1 are found to vary
TOKENS, EARLIER = 3, 4
AXES = {
    IDS: ("batch_size", "sequence_length"),
    "input_features": ("batch_size", "feature_size", "encoder_sequence_length"),
    "attention_mask": ("batch_size", "encoder_sequence_length"),
    "last_hidden_state": ("batch_size", "encoder_sequence_length", "hidden_size"),
    STATES: ("batch_size", "encoder_sequence_length", "hidden_size"),
    MASK: ("batch_size", "encoder_sequence_length"),
    "logits": ("batch_size", "decoder_sequence_length", "vocabulary_size"),
    f"{PAST}.{OWN}": ("batch_size", "heads", "past_decoder_sequence_length", "head_size"),
    f"{PAST}.{HEARD}": ("batch_size", "heads", "encoder_sequence_length_out", "head_size"),
    f"{PRESENT}.{OWN}": ("batch_size", "heads", "past_decoder_sequence_length + decoder_sequence_length", "head_size"),
    f"{PRESENT}.{HEARD}": ("batch_size", "heads", "encoder_sequence_length_out", "head_size"),
    ATTENTIONS: ("batch_size", "heads", "decoder_sequence_length", "encoder_sequence_length"),
}


class Encoder(nn.Module):
    """What hears or reads. It takes windows of any length, where its family has windows."""

    def __init__(self, family: Family, model: Any) -> None:
        super().__init__()
        self.family, self.model = family, model

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        with self.family.fitted(self.model, batch):
            return {"last_hidden_state": self.model.get_encoder()(**batch).last_hidden_state}


class Decoder(nn.Module):
    """One step of what writes. attentions: whether those to the encoder's states are an output, as times of words need them."""

    def __init__(self, model: Any, attentions: bool) -> None:
        super().__init__()
        self.model, self.attentions = model, attentions

    def forward(self, **given: Any) -> dict[str, Any]:
        past: Mapping[str, Any] = given.get(PAST, {})
        own, heard = (layout.filled(tuple(one[side].values()) for one in past.values()) for side in (OWN, HEARD))
        found = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=given[STATES]),
            attention_mask=given.get(MASK),
            decoder_input_ids=given[IDS],
            past_key_values=EncoderDecoderCache(own, heard),
            use_cache=True,
            output_attentions=self.attentions,
        )
        sides = {OWN: own} if past else {OWN: own, HEARD: heard}
        more = {ATTENTIONS: list(found.cross_attentions)} if self.attentions else {}
        return {"logits": found.logits, PRESENT: _named(sides), **more}


def _named(sides: Mapping[str, DynamicCache]) -> dict[str, Any]:
    """Caches by layer, side and part: the paths are the names of inputs and outputs."""
    found: dict[str, Any] = {}
    for side, cache in sides.items():
        for i, (keys, values) in enumerate(layout.pairs(cache)):
            found.setdefault(str(i), {})[side] = {"key": keys, "value": values}
    return found


def write(family: Family, model: Any, batch: Mapping[str, Tensor], folder: Path) -> None:
    """Write the graphs into the empty folder. batch: inputs to trace with."""
    model.set_attn_implementation("eager")  # the one that has attentions; in a graph all are the same operations
    encoder, decoder = Encoder(family, model), Decoder(model, family.word_times)
    _save(_traced(encoder, batch), folder / layout.ENCODER)
    first = {
        IDS: torch.ones(len(next(iter(batch.values()))), TOKENS, dtype=torch.int64),
        STATES: encoder(**batch)["last_hidden_state"],
    }
    if "attention_mask" in batch:
        first[MASK] = batch["attention_mask"]
    past = decoder(**first)[PRESENT]
    for one in past.values():
        one[OWN] = {part: tensor.repeat(1, 1, 2, 1)[:, :, :EARLIER] for part, tensor in one[OWN].items()}
    branches = _traced(decoder, first), _traced(decoder, {**first, PAST: past})
    _save(_merged(*branches, layers=len(past)), folder / layout.DECODER)


def _traced(module: nn.Module, inputs: Mapping[str, Any]) -> ir.Model:
    shapes = {name: _varying(name, value) for name, value in inputs.items()}
    traced: Any = module  # any module will do
    program, _ = OnnxExporter().export_program(traced, dict(inputs), OnnxConfig(dynamic=True, dynamic_shapes=shapes))
    for node in program.graph:
        node.metadata_props.clear()  # the places in transformers' source, which take more than the weights of a small model
        for value in node.outputs:
            value.metadata_props.clear()
    return program


def _varying(name: str, value: Any) -> Any:
    """The axes of an input that vary."""
    if isinstance(value, Mapping):
        return {key: _varying(name, inner) for key, inner in value.items()}
    return {0: Dim.AUTO, (2 if name in (PAST, "input_features") else 1): Dim.AUTO}


def _save(model: ir.Model, path: Path) -> None:
    """Large weights go into a file of their own beside the graph, under the name that Optimum gives it."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        _name_axes(value)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}_data" if size > INSIDE else None)


def _name_axes(value: ir.Value) -> None:
    """Name the axes that vary: Transformers.js finds the batch's by its name."""
    kind, *rest = (value.name or "").split(".")
    axes = AXES.get(f"{kind}.{rest[1]}" if len(rest) > 1 else kind)
    if axes and value.shape:
        value.shape = ir.Shape(
            [size if isinstance(size, int) else axis for size, axis in zip(value.shape, axes, strict=True)]
        )


@dataclass
class Branch:
    """A graph that was taken apart. outputs: by their names in the whole."""

    name: str
    nodes: list[ir.Node]
    outputs: dict[str, ir.Value]

    def graph(self, names: Sequence[str]) -> ir.Graph:
        return ir.Graph([], [self.outputs[name] for name in names], nodes=self.nodes, name=self.name)


@dataclass
class Shared:
    """What the branches have in common. inputs: by name; values: weights, and what is made of them alone, by what they are;
    nodes: that make these."""

    inputs: dict[Any, ir.Value]
    values: dict[Any, ir.Value]
    nodes: list[ir.Node]


def _merged(first: ir.Model, later: ir.Model, layers: int) -> ir.Model:
    """One graph, in which `use_cache_branch` says which step it is."""
    shared = Shared({}, {}, [])
    start, next_ = _freed("first", first.graph, shared), _freed("later", later.graph, shared)
    attentions = [name for name in start.outputs if name.startswith(ATTENTIONS)]
    names = ["logits", *layout.kept(PRESENT, layers, OWN, HEARD), *attentions]
    outputs = [ir.val(name, ir.DataType.FLOAT, start.outputs[name].shape) for name in names]
    for name in layout.kept(PRESENT, layers, HEARD):  # it doesn't change, and nobody reads it again
        sizes = [size if isinstance(size, int) else 1 for size in start.outputs[name].shape or ()]
        nothing = ir.node("Constant", [], {"value": ir.tensor(np.zeros(sizes, np.float32))})
        nothing.outputs[0].name = f"later.{name}"
        next_.nodes.append(nothing)
        next_.outputs[name] = nothing.outputs[0]
    condition = ir.val(LATER, ir.DataType.BOOL, [1])
    branches = {"then_branch": next_.graph(names), "else_branch": start.graph(names)}
    order = [IDS, MASK, STATES, *layout.kept(PAST, layers, OWN, HEARD)]
    graph = ir.Graph(
        [*(shared.inputs[name] for name in order if name in shared.inputs), condition],
        outputs,
        nodes=[*shared.nodes, ir.node("If", [condition], branches, outputs=outputs)],
        initializers=[value for value in shared.values.values() if value.producer() is None],
        opset_imports=dict(first.graph.opset_imports),
        name="decoder",
    )
    return ir.Model(graph, ir_version=first.ir_version, producer_name=first.producer_name)


def _freed(name: str, graph: ir.Graph, shared: Shared) -> Branch:
    """The nodes of a graph, taken out of it. Its inputs and weights are added to what is shared, or replaced by what is there
    already."""
    inputs, weights = list(graph.inputs), list(graph.initializers.values())
    outputs, nodes = {str(value.name): value for value in graph.outputs}, list(graph)
    for part in (graph.inputs, graph.outputs, graph.initializers):
        part.clear()
    graph.remove(nodes)
    for value in inputs:
        _one_of(shared.inputs, str(value.name), value)
    for value in weights:
        _one_of(shared.values, _content(value), value)
        value.name = f"{name}.{value.name}"
    own = []
    for node in nodes:
        for value in node.outputs:
            value.name = f"{name}.{value.name}"
        # a large matrix that a product takes transposed; ONNX Runtime does that once, when it loads the graph
        if node.op_type == "Transpose" and node.inputs[0] in shared.values.values():
            if _one_of(shared.values, (id(node.inputs[0]), str(node.attributes["perm"])), node.outputs[0]):
                shared.nodes.append(node)
        else:
            own.append(node)
    return Branch(name, own, outputs)


def _one_of(known: dict[Any, ir.Value], key: Any, value: ir.Value) -> bool:
    """Whether the value is the first under its key; it stands for the others."""
    first = known.setdefault(key, value)
    if first is not value:
        value.replace_all_uses_with(first)
    return first is value


def _content(weight: ir.Value) -> tuple[Any, ...]:
    """What two equal weights have in common."""
    tensor: Any = weight.const_value
    return tensor.dtype, tuple(tensor.shape), xxhash.xxh3_128_digest(np.ascontiguousarray(tensor.numpy()).data)
