"""HuBERT with a CTC head: wav2vec 2.0's architecture, trained otherwise (Hsu et al. 2021)."""

from __future__ import annotations

from consomme.families import characters
from consomme.families.waveform import DROPOUTS, Scratch, WaveformCtc, stack

FAMILY = WaveformCtc(
    name="hubert",
    task="asr",
    objective="ctc",
    model_type="hubert",
    published=("hubert",),
    architecture="HubertForCTC",
    config="HubertConfig",
    stacks=stack("hubert"),
    scratch=Scratch,
    tokenizer=characters.Settings,
    dropouts=DROPOUTS,
    optional=("masked_spec_embed",),
    masks_input=True,
    batch_norm=True,  # where its config says conv_pos_batch_norm
    word_times=True,
)
