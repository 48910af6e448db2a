"""Nemotron Speech: RNN-T above a Fast Conformer that hears a bounded stretch of what comes, so that it can be used while one
speaks (Noroozi et al. 2023, arXiv 2312.17279). Here it hears whole recordings, with the lookahead of its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consomme.common.files import write_json
from consomme.common.model_files import config as config_of
from consomme.families.codes import code_of
from consomme.families.fast_conformer import DROPOUTS, STACKS
from consomme.families.transducers import Transducer

PROMPT = "default_prompt_id"  # the config's key for the language that the model is told where nothing else tells it one


@dataclass(frozen=True)
class Prompted(Transducer):
    """See `Family`. The model is told its language by a number that its config names: what is made of a checkpoint for one
    language is told that one. Published checkpoints let the model find out."""

    def by_language(self, source: Path) -> bool:
        return True

    def settle(self, source: Path, folder: Path, languages: Sequence[str]) -> str:
        if not languages:
            return ""
        known = self.processor(folder).prompt_dictionary
        language = code_of(languages[0], known, self.name)
        write_json(folder / "config.json", config_of(folder) | {PROMPT: known[language]})
        return f"the model is told '{language}'"


STREAMING = Transducer(
    name="nemotron",
    task="asr",
    objective="transducer",
    model_type="nemotron_asr_streaming",
    published=("nemotron-speech",),
    architecture="NemotronAsrStreamingForRNNT",
    config="NemotronAsrStreamingConfig",
    stacks=STACKS,
    dropouts=DROPOUTS,
    reader="NemotronAsrStreamingProcessor",
)
PROMPTED = Prompted(
    name="nemotron3_5",
    task="asr",
    objective="transducer",
    model_type="nemotron3_5_asr",
    published=("nemotron-3.5-asr",),
    adapted=("nemotron-3.5-asr",),
    architecture="Nemotron3_5AsrForRNNT",
    config="Nemotron3_5AsrConfig",
    stacks=STACKS,
    dropouts=DROPOUTS,
    reader="Nemotron3_5AsrProcessor",
)
