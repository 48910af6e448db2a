"""whisper.cpp: Whisper in C and C++ on ggml, by the bindings pywhispercpp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.formats.base import Running

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Hypothesis

FILE = "ggml-model.bin"
GREEDY, BEAM = 0, 1  # its sampling strategies


class WhisperCpp(Running):
    """Whisper in whisper.cpp, which computes its own frames from the waveform, one recording at a time."""

    long = True

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        super().__init__(folder, languages)
        self.threads = threads
        self._engines: dict[int, Any] = {}  # strategy -> the model

    def decode(
        self,
        sources: Sequence[np.ndarray | str],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
        earlier: Sequence[Sequence[int]] = (),
    ) -> list[Hypothesis]:
        """Without its fallbacks to sampling, so that the text is the same at every call; the most tokens are those of a
        segment."""
        from consomme.families.base import Hypothesis, Segment

        beams, found = int(decoding.get("num_beams") or 1), []
        most = self.most_tokens(decoding)
        asked = {
            "language": self._told(languages),
            "no_timestamps": not decoding.get("timestamps"),
            "temperature": 0.0,
            "temperature_inc": 0.0,
            "max_tokens": most if decoding.get("max_new_tokens") else 0,
            "greedy": {"best_of": 1},
            "beam_search": {"beam_size": beams, "patience": -1.0},
        }
        for number, wave in enumerate(sources):
            frames = self._frames(len(wave), decoding)
            before = (
                {"prompt_tokens": list(earlier[number]), "prompt_n_tokens": len(earlier[number])} if earlier else {}
            )
            segments = self._engine(beams).transcribe(
                wave, **asked, **before, audio_ctx=-(-frames // 2) if frames else 0
            )
            said = [Segment(s.t0 / 100, s.t1 / 100, s.text.strip()) for s in segments]
            text = " ".join("".join(segment.text for segment in segments).split())
            found.append(Hypothesis(text, segments=said if decoding.get("timestamps") else []))
        return found

    def _frames(self, samples: int, decoding: Mapping[str, Any]) -> int | None:
        """The window of a recording of so many samples; None: the model's own."""
        count = -(-samples // self.processor.feature_extractor.hop_length)
        return None if self.family.long(self.processor, count) else self.window(decoding).frames(count)

    def _told(self, languages: Sequence[str]) -> str:
        """The language; `auto` hears which."""
        if self.processor.tokenizer.english_only:
            return "en"
        return languages[0] if languages else "auto"

    def _engine(self, beams: int) -> Any:
        from pywhispercpp.model import Model

        strategy = BEAM if beams > 1 else GREEDY
        if strategy not in self._engines:
            self._engines[strategy] = Model(
                str(self.folder / FILE),
                params_sampling_strategy=strategy,
                redirect_whispercpp_logs_to=None,
                n_threads=self.threads,
                print_progress=False,
                print_realtime=False,
            )
        return self._engines[strategy]


def load(folder: Path, languages: Sequence[str], threads: int, device: str) -> Running:
    """The export in `folder`."""
    return WhisperCpp(folder, languages, threads, device)
