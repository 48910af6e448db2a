"""What training may change in the examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from consomme.common.settings import Section
from consomme.common.values import Integer, Number, Text

# Park et al. 2019, table 1: W, F, m_F, T, p, m_T
_POLICY = ("time_warp", "frequency_width", "frequency_masks", "time_frames", "time_width", "time_masks")
POLICIES: dict[str, dict[str, Any]] = {
    "LB": dict(zip(_POLICY, (80, 27, 1, 100, 1.0, 1), strict=True)),
    "LD": dict(zip(_POLICY, (80, 27, 2, 100, 1.0, 2), strict=True)),
    "SM": dict(zip(_POLICY, (40, 15, 2, 70, 0.2, 2), strict=True)),
    "SS": dict(zip(_POLICY, (40, 27, 2, 70, 0.2, 2), strict=True)),
}


class SpecAugment(Section):
    """A time warp and masks on the log-mel frames (Park et al. 2019, arXiv 1904.08779), or time masks on a waveform."""

    # no part of the identity: what it stands for is filled in
    policy: Literal["LB", "LD", "SM", "SS"] | None = Field(
        None, exclude=True, description="of the paper: LibriSpeech basic, double, Switchboard mild, strong"
    )
    time_masks: Integer = Field(
        2, ge=0, description="number of masks over time; the most there may be, where time_masks_per_frame is given"
    )
    time_masks_per_frame: Number | None = Field(
        None, gt=0, description="their number grows with the utterance (arXiv 1912.05533), up to time_masks"
    )
    time_width: Number = Field(0.05, ge=0, le=1, description="widest mask, as a share of the frames")
    time_frames: Integer | None = Field(None, ge=0, description="widest mask, in frames of 10 ms")
    frequency_masks: Integer | None = Field(None, ge=0, description="2 where the model reads mel bins")
    frequency_width: Integer = Field(15, ge=0, description="widest mask, in mel bins")
    time_warp: Integer | None = Field(None, ge=0, description="frames that a point moves by at most")

    @model_validator(mode="before")
    @classmethod
    def _of_policy(cls, value: Any) -> Any:
        policy = value.get("policy") if isinstance(value, dict) else None
        return {**POLICIES[policy], **value} if isinstance(policy, str) and policy in POLICIES else value


class Noise(Section):
    """Noise added to the waveform."""

    folder: Text | None = Field(None, description="recordings of noise; without it white and pink noise is made")
    snr: tuple[Number, Number] = Field((5.0, 20.0), description="lowest and highest signal-to-noise ratio, dB")
    probability: Number = Field(0.5, ge=0, le=1, description="of an utterance being changed")

    @field_validator("snr")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the lowest ratio comes first")
        return value


class Reverb(Section):
    """Rooms: convolution with impulse responses."""

    folder: Text | None = Field(None, description="recorded responses; without it rooms are made on the spot")
    rt60: tuple[Number, Number] = Field(
        (0.1, 0.6), description="made on the spot: shortest and longest time to fall by 60 dB, seconds"
    )
    probability: Number = Field(0.5, ge=0, le=1, description="of an utterance being changed")

    @field_validator("rt60")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("both are above 0, and the shortest comes first")
        return value


class Concatenate(Section):
    """Examples joined with others of their corpus, of the same speaker where speakers are named."""

    utterances: Integer = Field(2, ge=2, description="at most so many in one")
    seconds: Number = Field(30.0, gt=0, description="asr: at most so long")
    probability: Number = Field(0.5, ge=0, le=1, description="of an example being joined with others")


class SubwordSampling(Section):
    """Sentences cut into other pieces each time."""

    sides: Annotated[
        list[Literal["source", "target"]],
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value,
            json_schema_input_type=Literal["source", "target"] | list[Literal["source", "target"]],
        ),
    ] = Field(["source", "target"], min_length=1, description="source, target or both")
    alpha: Number = Field(0.2, gt=0, description="unigram: smoothing, 0.1 varies more (Kudo 2018, arXiv 1804.10959)")
    dropout: Number = Field(0.1, ge=0, le=1, description="bpe: probability that a merge is left out (arXiv 1910.13267)")


class Augment(Section):
    """Augmentation on the fly, the same for (seed, epoch, utterance) whatever the number of workers."""

    concatenate: Concatenate | None = Field(
        None, description="examples joined with others of their corpus; true for the defaults"
    )
    spec_augment: SpecAugment | None = Field(
        None, description="asr: masks on the features; true for the defaults, or a policy's name"
    )
    speed: list[Number] | None = Field(None, description="factors to choose from, such as [0.9, 1.0, 1.1]")
    pitch: list[Integer] | None = Field(None, description="semitones to choose from, such as [-2, -1, 0, 1, 2]")
    gain: list[Number] | None = Field(None, description="loudness: [low, high] in dB")
    reverb: Reverb | None = Field(None, description="asr: rooms; true for the defaults")
    noise: Noise | None = Field(None, description="asr: added noise; true for the defaults")
    word_dropout: Number | None = Field(None, ge=0, lt=1, description="nmt: probability that a source word is left out")
    subwords: SubwordSampling | None = Field(
        None, description="nmt: sentences cut into other subwords each time; true for the defaults"
    )

    @field_validator("concatenate", "spec_augment", "reverb", "noise", "subwords", mode="before")
    @classmethod
    def _true_means_defaults(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("spec_augment", mode="before")
    @classmethod
    def _a_policy(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    @field_validator("speed")
    @classmethod
    def _plausible(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (not value or not all(0.5 <= v <= 2 for v in value)):
            raise ValueError("speed factors lie between 0.5 and 2")
        return value

    @field_validator("pitch")
    @classmethod
    def _semitones(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (not value or not all(-12 <= v <= 12 for v in value)):
            raise ValueError("pitch is shifted by semitones between -12 and 12")
        return value

    @field_validator("gain")
    @classmethod
    def _range(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (len(value) != 2 or value[0] > value[1]):
            raise ValueError("gain is [low, high] in dB, such as [-6, 6]")
        return value
