"""Settings of architectures from scratch and of their tokenizers: the type, bounds and meaning of each, for the families.

A key has the name that the architecture's config gives it; several configs have other names for one thing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consomme.common.values import Integer, Number, Text

Flag = Annotated[bool, Field(strict=True)]

Width = Annotated[Integer, Field(ge=1, le=65_536, description="width of the hidden states")]
Layers = Annotated[Integer, Field(ge=1, le=1000, description="number of layers")]
EncoderLayers = Annotated[Integer, Field(ge=1, le=1000, description="number of encoder layers")]
DecoderLayers = Annotated[Integer, Field(ge=1, le=1000, description="number of decoder layers")]
Heads = Annotated[Integer, Field(ge=1, le=1000, description="attention heads per layer")]
EncoderHeads = Annotated[Integer, Field(ge=1, le=1000, description="attention heads per encoder layer")]
DecoderHeads = Annotated[Integer, Field(ge=1, le=1000, description="attention heads per decoder layer")]
Neurons = Annotated[Integer, Field(ge=1, le=1_000_000, description="neurons of each feed-forward block")]
EncoderNeurons = Annotated[
    Integer, Field(ge=1, le=1_000_000, description="neurons of each feed-forward block of the encoder")
]
DecoderNeurons = Annotated[
    Integer, Field(ge=1, le=1_000_000, description="neurons of each feed-forward block of the decoder")
]
HeadWidth = Annotated[Integer, Field(ge=1, le=65_536, description="width of an attention head")]
Activation = Annotated[
    Literal[
        "gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "silu", "swish", "tanh"
    ],
    Field(description="activation function of the feed-forward blocks"),
]
GatedActivation = Annotated[
    Literal["gelu", "gelu_new", "relu", "silu", "gated-gelu", "gated-gelu_new", "gated-relu", "gated-silu"],
    Field(description="activation function of the feed-forward blocks, gated or not"),
]
Positions = Annotated[
    Text | None, Field(description="relative position embeddings of the attention, such as relative_key; null: none")
]
Kernel = Annotated[Integer, Field(ge=1, le=10_000, description="frames that a convolution of a layer spans")]
Dropout = Annotated[Number, Field(ge=0, le=1, description="dropout of the hidden states")]
ActivationDropout = Annotated[Number, Field(ge=0, le=1, description="dropout inside the feed-forward blocks")]
AttentionDropout = Annotated[Number, Field(ge=0, le=1, description="dropout of the attention weights")]
FeatureDropout = Annotated[Number, Field(ge=0, le=1, description="dropout of the features after their projection")]
FinalDropout = Annotated[Number, Field(ge=0, le=1, description="dropout before the CTC head")]
ConvolutionDropout = Annotated[Number, Field(ge=0, le=1, description="dropout after the convolutions")]
PositionDropout = Annotated[Number, Field(ge=0, le=1, description="dropout of the position embeddings")]
LayerDrop = Annotated[
    Number,
    Field(ge=0, le=1, description="probability that a layer is skipped; training sets its own with encoder_layerdrop"),
]
DecoderLayerDrop = Annotated[Number, Field(ge=0, le=1, description="the same for the decoder, with decoder_layerdrop")]
OwnMasks = Annotated[
    Flag, Field(description="masks that the model itself lays on its input; augment.spec_augment replaces them")
]
TimeMasks = Annotated[Number, Field(ge=0, le=1, description="apply_spec_augment: fraction of frames under masks")]
FeatureMasks = Annotated[Number, Field(ge=0, le=1, description="apply_spec_augment: fraction of features under masks")]
Reduction = Annotated[
    Text, Field(description="how the model's own CTC loss is reduced; training here computes its own")
]
ZeroInfinity = Annotated[Flag, Field(description="whether the model's own CTC loss counts infinite losses as zero")]
Adapter = Annotated[Flag, Field(description="convolutions above the encoder that shorten its output")]
MelBins = Annotated[Integer, Field(ge=1, le=1_000, description="mel bins of a frame")]
Spread = Annotated[Number, Field(ge=0, le=10, description="standard deviation of the first weights")]
SpreadFactor = Annotated[
    Number, Field(ge=0, le=100, description="factor on the standard deviation of the first weights")
]
Channels = Annotated[
    list[Annotated[Integer, Field(ge=1, le=65_536)]],
    Field(min_length=1, description="channels of each convolution over the waveform"),
]
Strides = Annotated[
    list[Annotated[Integer, Field(ge=1, le=1_000)]],
    Field(min_length=1, description="stride of each of these convolutions"),
]
Kernels = Annotated[
    list[Annotated[Integer, Field(ge=1, le=10_000)]],
    Field(min_length=1, description="kernel of each of these convolutions"),
]
Bias = Annotated[Flag, Field(description="whether these convolutions have a bias")]
FeatureNorm = Annotated[Text, Field(description="norm of these convolutions: layer or group")]
StableNorm = Annotated[Flag, Field(description="layer norms before each sublayer, not after it")]
PositionKernel = Annotated[
    Integer, Field(ge=1, le=10_000, description="kernel of the convolution that embeds positions")
]
PositionGroups = Annotated[Integer, Field(ge=1, le=10_000, description="groups of that convolution")]
Buckets = Annotated[Integer, Field(ge=1, le=100_000, description="buckets of relative positions")]
Furthest = Annotated[
    Integer, Field(ge=1, le=1_000_000, description="distance from which relative positions share a bucket")
]
Subsampling = Annotated[Integer, Field(ge=1, le=1_000, description="frames of 10 ms that become one")]
SubsamplingChannels = Annotated[
    Integer, Field(ge=1, le=65_536, description="channels of the convolutions that join them")
]
ScaledInput = Annotated[Flag, Field(description="whether embeddings are multiplied by the square root of the width")]
PredictorWidth = Annotated[
    Integer,
    Field(ge=1, le=65_536, description="width of the network that reads the tokens so far, and of the joint network"),
]
PredictorLayers = Annotated[
    Integer, Field(ge=1, le=1000, description="LSTM layers of the network that reads the tokens so far")
]
SymbolsPerStep = Annotated[Integer, Field(ge=1, le=1_000, description="tokens that are decoded at most in a frame")]
Durations = Annotated[
    list[Annotated[Integer, Field(ge=0, le=1000)]],
    Field(min_length=2, description="frames that a token may last; 0 and 1 must be among them"),
]
Window = Annotated[Number, Field(ge=1, le=30, description="seconds of audio that the encoder takes, a whole number")]
MostTokens = Annotated[Integer, Field(ge=1, le=1_000_000, description="tokens that the decoder has positions for")]
MostFrames = Annotated[Integer, Field(ge=1, le=1_000_000, description="frames that the encoder has positions for")]
MostPositions = Annotated[Integer, Field(ge=1, le=1_000_000, description="tokens that the model has positions for")]
SubsamplerChannels = Annotated[
    Integer, Field(ge=1, le=65_536, description="channels of the convolutions over the frames")
]
SubsamplerKernels = Annotated[
    list[Annotated[Integer, Field(ge=1, le=10_000)]],
    Field(min_length=1, description="kernel of each of these convolutions"),
]
Tied = Annotated[Flag, Field(description="whether input and output embeddings are one tensor")]
Shared = Annotated[Flag, Field(description="whether encoder and decoder share their embeddings")]
Stride = Annotated[Integer, Field(ge=1, le=100, description="mel frames joined into one: 2 or 3")]
Pieces = Annotated[Integer, Field(ge=1, le=10_000_000, description="size of the vocabulary")]
Coverage = Annotated[
    Number, Field(gt=0, le=1, description="SentencePiece: fraction of the texts' characters that get a piece")
]
Rule = Annotated[Text, Field(description="SentencePiece: normalisation of the text")]
Longest = Annotated[Integer, Field(ge=1, le=1_000_000, description="tokens of the longest text")]
Kind = Annotated[Text, Field(description="kind of tokenizer, made of the training texts")]
