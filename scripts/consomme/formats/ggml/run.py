"""whisper.cpp: Whisper in C and C++ on ggml, by the bindings pywhispercpp."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.formats.base import Asked, Running

if TYPE_CHECKING:
    from consomme.families.base import Hypothesis
    from consomme.formats.base import Sources

FILE = "ggml-model.bin"
GREEDY, BEAM = 0, 1  # its sampling strategies


class WhisperCpp(Running):
    """Whisper in whisper.cpp, which computes its own frames from the waveform, one recording at a time."""

    long, batch = True, 1

    def __init__(self, folder: Path, languages: Sequence[str], threads: int, device: str) -> None:
        super().__init__(folder, languages)
        self.threads = threads
        self._engines: dict[int, Any] = {}  # strategy -> the model
        atexit.register(self._engines.clear)  # the bindings can't free a model once the interpreter is going down

    def decode(self, sources: Sources, asked: Asked) -> list[Hypothesis]:
        """Without its fallbacks to sampling, so that the text is the same at every call; the most tokens are those of a
        segment."""
        from consomme.families.base import Hypothesis, Segment

        decoding, found = asked.decoding, []
        beams, most = int(decoding.get("num_beams") or 1), self.most_tokens(decoding)
        settings = {
            "language": self._told(asked.languages),
            "temperature": 0.0,
            "temperature_inc": 0.0,
            "max_tokens": most if decoding.get("max_new_tokens") else 0,
            "greedy": {"best_of": 1},
            "beam_search": {"beam_size": beams, "patience": -1.0},
        }
        for wave, before in zip(sources, asked.earlier or [()] * len(sources), strict=True):
            count = -(-len(wave) // self.processor.feature_extractor.hop_length)
            long = self.family.long(self.processor, count)
            frames = None if long else self.window(decoding).frames(count)
            # without timestamps a long recording would be cut every 30 s, wherever a word is
            timed = bool(decoding.get("timestamps")) or long
            segments = self._engine(beams).transcribe(
                wave,
                **settings,
                no_timestamps=not timed,
                initial_prompt=self.processor.tokenizer.decode(before, skip_special_tokens=True).strip(),
                audio_ctx=-(-frames // 2) if frames else 0,
            )
            text = " ".join("".join(segment.text for segment in segments).split())
            parts = [Segment(s.t0 / 100, s.t1 / 100, s.text.strip()) for s in segments] if timed else []
            found.append(Hypothesis(text, segments=parts))
        return found

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
