"""Speech by espeak-ng, called through ctypes; the library and its voices come with the package espeakng-loader."""

from __future__ import annotations

import _ctypes
import ctypes
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    import numpy as np

# espeak-ng/speak_lib.h
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: an error returns instead of ending the process
CHARACTERS = 1  # POS_CHARACTER
UTF8 = 1  # espeakCHARS_UTF8
RATE, PITCH = 1, 3  # espeakRATE in words a minute, espeakPITCH 0..100

# Variants whose samples depend on what memory held before, even in a fresh process: version 1.52 reads a value that it
# never set. Seen with every accent of English.
UNSTEADY = frozenset({"f2", "f3", "f5", "Alicia"})

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise to add: `snr` in dB over the whole utterance; its spectrum falls with frequency to the power `colour` (0
    white, 1 pink, 2 brown, in power); `seed` draws it."""

    snr: float
    colour: float
    seed: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """A text to be spoken. `voice` like "en-us+m1"; `rate` in words a minute; `pitch` 0..100, 50 is the voice's own."""

    text: str
    voice: str
    rate: int = 170
    pitch: int = 50
    noise: Noise | None = None

    def waveform(self) -> tuple[np.ndarray, int]:
        """Mono float32 [samples] in -1..1, and the rate in Hz."""
        import numpy as np

        data, rate = speak(self.text, self.voice, self.rate, self.pitch)
        samples = np.frombuffer(data, dtype=np.int16).astype(np.float32) / 32768
        return (with_noise(samples, self.noise) if self.noise else samples), rate


def speak(text: str, voice: str, rate: int, pitch: int) -> tuple[bytes, int]:
    """`text` spoken: native 16-bit samples, and their rate in Hz. The same arguments give the same bytes, whatever was
    spoken before: the library keeps state over utterances, and over a new start too, so it is loaded anew for each.

    Raises ConsommeError for a voice that it refuses (it would go on with the voice before)."""
    if voice.partition("+")[2] in UNSTEADY:
        raise ConsommeError(f"voice '{voice}': its sound isn't the same twice; choose another variant than it")
    path, data = _paths()
    library = ctypes.CDLL(path)
    try:
        return _speak(library, data, text, voice, rate, pitch)
    finally:
        library.espeak_Terminate()
        _unload(library, path)


def _speak(library: ctypes.CDLL, data: str, text: str, voice: str, rate: int, pitch: int) -> tuple[bytes, int]:
    spoken: list[bytes] = []

    def receive(samples: Any, count: int, events: object) -> int:
        if samples and count > 0:
            spoken.append(ctypes.string_at(samples, 2 * count))
        return 0

    hertz = library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), DONT_EXIT)
    if hertz <= 0:
        raise ConsommeError(f"espeak-ng finds no voices in {data}; install espeakng-loader again")
    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ConsommeError(f"espeak-ng has no voice '{voice}'")
    library.espeak_SetParameter(RATE, rate, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, CHARACTERS, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return b"".join(spoken), hertz


def _unload(library: ctypes.CDLL, path: str) -> None:
    _ctypes.dlclose(library._handle)
    try:
        ctypes.CDLL(path, mode=_NOLOAD)
    except OSError:
        return  # gone, as it should be: the next utterance starts from the library's first state
    raise ConsommeError("espeak-ng stays loaded on this system, so its speech would depend on what was spoken before")


_NOLOAD = 4  # RTLD_NOLOAD of Linux: find a library only if it is loaded


@cache
def _paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        raise ConsommeError("spoken corpora need espeak-ng: pip install espeakng-loader") from None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def with_noise(samples: np.ndarray, noise: Noise) -> np.ndarray:
    """Float32 `samples` with noise added, scaled down where they would leave -1..1."""
    import numpy as np

    # a power of two: the transform of a prime length takes ten times as long
    size = 1 << max(1, len(samples) - 1).bit_length()
    drawn = np.random.Generator(np.random.PCG64(noise.seed)).standard_normal(size)
    spectrum = np.fft.rfft(drawn)
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-noise.colour / 2)
    coloured = np.fft.irfft(spectrum, size)[: len(samples)]
    power = np.mean(np.square(samples, dtype=np.float64)) / 10 ** (noise.snr / 10)
    mixed = samples + coloured * np.sqrt(power / np.mean(coloured**2))
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)
