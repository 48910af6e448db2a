"""wav2vec 2.0 with a CTC head: a Transformer over the waveform (Baevski et al. 2020)."""

from __future__ import annotations

from consomme.families import characters
from consomme.families.waveform import DROPOUTS, Scratch, WaveformCtc, stack

FAMILY = WaveformCtc(
    name="wav2vec2",
    task="asr",
    objective="ctc",
    model_type="wav2vec2",
    published=("wav2vec2", "xls-r", "mms-1b"),
    architecture="Wav2Vec2ForCTC",
    config="Wav2Vec2Config",
    stacks=stack("wav2vec2"),
    scratch=Scratch,
    tokenizer=characters.Settings,
    dropouts=DROPOUTS,
    optional=("masked_spec_embed",),
    masks_input=True,
)
