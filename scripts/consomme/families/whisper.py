"""Whisper: an encoder-decoder Transformer over log-mel frames of a fixed window."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.settings import Section
from consomme.families import keys, subwords, whisper_tokens, whisper_words
from consomme.families.base import BART_STACKS, BEYOND_WINDOW, Hypothesis, Segment
from consomme.families.codes import code_of
from consomme.families.positions import bounded, fits, most_tokens
from consomme.families.transcription import Transcriber
from consomme.families.whisper_tokens import END, PREFIX, PREVIOUS, SILENT, START

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

# what config.json said of decoding before generation_config.json existed
GENERATION = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "max_length",
)
# as OpenAI's own program: what is repetitive or unsure is heard again with more and more chance. The ratio is that of
# transformers, which compresses tokens and not text
FALLBACKS = {
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 1.35,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}
MARGIN, GRID = 10, 20  # frames of 10 ms: silence behind the speech in a short window, and what windows are multiples of


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    window: keys.Window = 6.0
    num_mel_bins: keys.MelBins = 80
    d_model: keys.Width = 96
    encoder_layers: keys.EncoderLayers = 4
    decoder_layers: keys.DecoderLayers = 2
    encoder_attention_heads: keys.EncoderHeads = 4
    decoder_attention_heads: keys.DecoderHeads = 4
    encoder_ffn_dim: keys.EncoderNeurons = 256
    decoder_ffn_dim: keys.DecoderNeurons = 256
    max_target_positions: keys.MostTokens = 64
    dropout: keys.Dropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.0
    activation_dropout: keys.ActivationDropout = 0.0
    encoder_layerdrop: keys.LayerDrop = 0.0
    decoder_layerdrop: keys.DecoderLayerDrop = 0.0
    init_std: keys.Spread = 0.02


@dataclass(frozen=True)
class Whisper(Transcriber):
    """See `Family`; `scratch` also has `window`, the seconds of audio that the encoder takes (whole seconds)."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperProcessor

        from consomme.families import windows
        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(WhisperConfig().to_dict()))
        window = settings.pop("window")
        if window != int(window) or not 1 <= window <= 30:
            raise ConsommeError(f"scratch.window: {window} given; whole seconds from 1 to 30 are allowed")
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        speech = whisper_tokens.new_tokenizer(texts, tokens, languages, settings["max_target_positions"])
        extractor = WhisperFeatureExtractor(feature_size=settings["num_mel_bins"], chunk_length=int(window))
        end, start = speech.convert_tokens_to_ids([END, START])
        ids = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
        known = whisper_tokens.generation_ids(speech)
        fixed = {
            **ids,
            "vocab_size": len(speech),
            # a frame is 10 ms and the encoder's second convolution halves them
            "max_source_positions": int(window) * extractor.sampling_rate // extractor.hop_length // 2,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
            windows.KEY: windows.SHORT,
        }
        model = new_model(self, settings, fixed, seed)
        model.generation_config = GenerationConfig(
            **ids,
            max_length=settings["max_target_positions"],
            **known,
            language=languages[0],
            task="transcribe",
            return_timestamps=False,
        )
        save(model, WhisperProcessor(feature_extractor=extractor, tokenizer=speech), out)

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        # what goes into and out of the activations of two convolutions, the first with twice as many frames, and the sum
        # with the positions
        return 50.0, 50.0 * 7 * config["d_model"]

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        """The processor. Its tokenizer's `english_only` is whether the model is told no language."""
        from transformers import WhisperProcessor

        from consomme.common.model_files import config

        made = bounded(WhisperProcessor.from_pretrained(path, local_files_only=True), path)
        # timestamps are the model's last tokens, whether the tokenizer's files name them or not
        first = made.tokenizer.convert_tokens_to_ids(SILENT) + 1
        made.tokenizer.timestamps = range(first, max(first, config(path).get("vocab_size", 0)))
        made.tokenizer.english_only = whisper_tokens.trimmed_english(path)
        return made

    def settle(self, source: Path, folder: Path, languages: Sequence[str]) -> str:
        """Checkpoints of before 2023, and what was trained from them, name the ids of languages and tasks nowhere, and have
        no generation_config.json, or one of before these keys. The tokenizer knows them."""
        from consomme.common.files import write_json
        from consomme.common.model_files import config, json_mapping

        path = folder / "generation_config.json"
        old = config(folder)
        there = json_mapping(path) if path.is_file() else {key: old[key] for key in GENERATION if key in old}
        added = {
            k: v
            for k, v in whisper_tokens.generation_ids(self.processor(folder).tokenizer).items()
            if there.get(k) is None
        }
        if not added:
            return ""
        write_json(path, {**there, **added})
        return f"generation_config.json lacked {', '.join(sorted(added))}; filled in from the tokenizer"

    def known_languages(self, folder: Path) -> Collection[str] | None:
        from consomme.common.files import read_json

        path = folder / "generation_config.json"
        known = (read_json(path) if path.is_file() else {}).get("lang_to_id")
        return [token.strip("<|>") for token in known] if known else None

    def name_languages(self, folder: Path, languages: Collection[Sequence[str]]) -> None:
        """generation_config.json names the task, and the language where there is one. Where there are several, transformers'
        `generate` detects it. Without a named task it would then leave the task's token out, and a model answers with
        nonsense. English-only models stay as they are."""
        from consomme.common.files import read_json, write_json

        path = folder / "generation_config.json"
        given = read_json(path) if path.is_file() else {}
        known = given.get("lang_to_id")
        if not known:
            return
        # what older checkpoints have instead of language and task
        told = {key: value for key, value in given.items() if key not in ("language", "task", "forced_decoder_ids")}
        told["task"] = "transcribe"
        if len(codes := {spoken[0] for spoken in languages}) == 1:
            told["language"] = code_of(*codes, [token.strip("<|>") for token in known], self.name)
        config = read_json(folder / "config.json")
        for file, before, after in (
            (path, given, told),
            (folder / "config.json", config, {k: v for k, v in config.items() if k != "forced_decoder_ids"}),
        ):
            if after != before:
                write_json(file, after)

    def some_languages(self, source: Path) -> list[str]:
        known = whisper_tokens.generation_ids(self.processor(source).tokenizer).get("lang_to_id", {"<|en|>": 0})
        return ["en"] if "<|en|>" in known else [next(iter(known)).strip("<|>")]

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        """float32 [time, bins], unpadded: the frames that the audio touches and one of silence, which `collate`
        repeats to the end of the window. Unusable if the audio is longer than the window."""
        from consomme.families.settings import mono

        extractor, wave = processor.feature_extractor, mono(source)
        if len(wave) > extractor.n_samples:
            rate = extractor.sampling_rate
            raise Unusable(
                BEYOND_WINDOW,
                f"{len(wave) / rate:.2f} s, the window is {extractor.n_samples / rate:g} s",
            )
        return _log_mel(extractor, wave)

    def whole(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        from consomme.families.settings import mono

        return _log_mel(processor.feature_extractor, mono(source))

    def length(self, processor: Any, samples: int) -> int | None:
        return _frames(processor.feature_extractor, samples)[0]

    def long(self, processor: Any, length: int) -> bool:
        return length > processor.feature_extractor.nb_max_frames

    def timed_labels(
        self, processor: Any, segments: Sequence[tuple[float, float, str]], languages: Sequence[str]
    ) -> list[int]:
        """<|0.00|>text<|1.50|><|1.74|> more text<|4.02|>: timestamps on a grid of 20 ms, the last one at most the window's
        end. They stand in place of the no-timestamps token."""
        tokenizer = processor.tokenizer
        if not tokenizer.timestamps:
            raise ConsommeError(
                "timestamps: the model has no tokens for them, as none that is made from scratch has; start from a published "
                "Whisper, or leave `timestamps` out"
            )
        ids = whisper_tokens.prefix(tokenizer, languages)[1:-1]
        for number, (start, end, text) in enumerate(segments):
            said = self.said(tokenizer, f" {text}" if number else text)
            ids += [whisper_tokens.timestamp(tokenizer, start), *said, whisper_tokens.timestamp(tokenizer, end)]
        ids.append(self.end(tokenizer))
        return fits(tokenizer, ids, " ".join(text for *_, text in segments), "target")

    def earlier(self, processor: Any, text: str, room: int) -> tuple[list[int], bool]:
        """<|startofprev|> and the text with a space before it, as transformers' `get_prompt_ids` has them."""
        tokenizer = processor.tokenizer
        room = min(room, most_tokens(processor, "target") // 2) - 1
        said = self.said(tokenizer, f" {text.strip()}") if text.strip() and room > 0 else []
        if not said:
            return [], bool(text.strip())
        return [tokenizer.convert_tokens_to_ids(PREVIOUS), *said[-room:]], len(said) > room

    def opening(self, processor: Any, earlier: Sequence[int], languages: Sequence[str]) -> list[int]:
        return [*earlier, *whisper_tokens.prefix(processor.tokenizer, languages)]

    def decode(
        self,
        model: Any,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[Hypothesis]:
        """With `timestamps`, and where the audio is `long`, a hypothesis has segments and takes several calls of the model:
        what follows the last whole segment is heard again from there, as Whisper itself does it (Radford et al. 2022,
        arXiv 2212.04356, section 3.8), without the text so far, and only with `fallbacks` (true) with its fallbacks to
        sampling, which draw random numbers. The most tokens are those of one call. Words take another pass of the model."""
        decoding = dict(decoding)
        more = FALLBACKS if decoding.pop("fallbacks", False) else {}
        words = decoding.pop("words", False)
        long = self.long(processor, batch["input_features"].shape[-1])
        if decoding.pop("timestamps", False) or long:
            own = {"return_timestamps": True}
            found, limit, _ = self.generated(
                model, processor, batch, languages, decoding, own, return_segments=True, **more
            )
            said = [_timed(processor.tokenizer, segments, limit) for segments in found["segments"]]
        else:
            said = super().decode(model, processor, batch, languages, decoding)
        if not words:
            return said
        heard = batch["input_features"]
        return [self._worded(model, processor, one, hears, languages) for one, hears in zip(said, heard, strict=True)]

    def _worded(
        self, model: Any, processor: Any, said: Hypothesis, heard: Tensor, languages: Sequence[str]
    ) -> Hypothesis:
        """The hypothesis with its words. heard: [bins, frames], of a collated batch."""
        import torch

        from consomme.families.settings import to_model

        tokenizer, extractor = processor.tokenizer, processor.feature_extractor
        window = min(heard.shape[-1], int(extractor.nb_max_frames))
        audio = whisper_words.Audio(_touched(heard), window, extractor.hop_length / extractor.sampling_rate)

        def starts(first: int, last: int, ids: Sequence[int]) -> list[int]:
            features = to_model(model, {"input_features": _filled(heard[:, first : first + window], window)[None]})
            with torch.inference_mode(), self.fitted(model, features):
                states = model.get_encoder()(**features)
                prefix = whisper_tokens.prefix(tokenizer, languages or _language(model, tokenizer, states))
                room = model.config.max_target_positions - len(prefix)
                weights = whisper_words.attended(model, states, prefix, ids[:room])
            frames = (last - first) // whisper_words.TICK
            begun = whisper_words.begun(weights[..., :frames].cpu().numpy(), model.config.median_filter_width)
            return [*begun, *[frames] * len(ids[room:])]  # what there are no positions for begins at the end

        return whisper_words.with_words(said, audio, tokenizer, partial(self.said, tokenizer), starts)

    def prefix(self, processor: Any, languages: Sequence[str]) -> list[int]:
        """Language, task and no-timestamps tokens."""
        return whisper_tokens.prefix(processor.tokenizer, languages)[1:]

    def end(self, tokenizer: Any) -> int:
        return tokenizer.convert_tokens_to_ids(END)

    def collate(
        self,
        processor: Any,
        features: Sequence[np.ndarray],
        labels: Sequence[Sequence[int]] | None,
        frames: int | None = None,
        earlier: Sequence[Sequence[int]] = (),
    ) -> dict[str, Tensor]:
        """frames: of the window, even, at least as long as any feature; None: the processor's own. earlier: for each
        example the tokens before its start token, which are no labels; where any has some, the batch has the decoder's
        inputs. Where any feature is `long`, the batch is as long as the longest, and has an attention mask."""
        import torch

        from consomme.families.settings import padded

        longest, most = max(map(len, features)), int(processor.feature_extractor.nb_max_frames)
        frames = longest if longest > most else min(frames or most, most)
        inputs = torch.empty(len(features), features[0].shape[1], frames)
        for i, feature in enumerate(features):
            rows = torch.tensor(feature).T
            inputs[i, :, : rows.shape[1]] = rows
            inputs[i, :, rows.shape[1] :] = rows[:, -1:]  # silence, as loud as the floor that this audio sets
        batch = {"input_features": inputs}
        if longest > most:
            lengths = torch.tensor([len(feature) for feature in features])
            batch["attention_mask"] = (torch.arange(frames) < lengths[:, None]).long()
        if labels is None:
            return batch
        if any(map(len, earlier)):
            start, end = processor.tokenizer.convert_tokens_to_ids([START, END])
            pairs = list(zip(earlier, labels, strict=True))
            batch["decoder_input_ids"] = padded([[*before, start, *ids[:-1]] for before, ids in pairs], end)
            labels = [[*[-100] * len(before), *ids] for before, ids in pairs]
        batch["labels"] = padded(labels, -100)
        return batch

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        """Without languages the model detects that of each example."""
        settings: dict[str, Any] = {"return_timestamps": False, **whisper_tokens.generation_ids(processor.tokenizer)}
        if not whisper_tokens.english_only(processor.tokenizer):
            language = whisper_tokens.language_token(processor.tokenizer, languages) if languages else None
            settings |= {"language": language, "task": "transcribe"}
        return settings

    def most_tokens(self, model: PreTrainedModel, processor: Any) -> int:
        return model.config.max_target_positions - PREFIX

    def output_frames(self, model: PreTrainedModel, lengths: Tensor) -> Tensor:
        return (lengths + 1) // 2  # the second convolution's stride

    def window(self, longest: int) -> int:
        return -(-(longest + MARGIN) // GRID) * GRID

    def full_window(self, config: Any) -> int:
        return 2 * config.max_source_positions  # the second convolution halves the frames

    @contextmanager
    def fitted(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Generator[None]:
        """The encoder refuses any input but its window's. Within the block its window is the batch's: the first
        positions of its table, the others untouched, so that nothing of the model is copied or changed."""
        short = batch["input_features"].shape[-1] // 2
        models = list(getattr(model, "members", None) or [model])  # those of an ensemble
        positions = [m.config.max_source_positions for m in models]
        _set_positions(models, [min(short, own) for own in positions])
        try:
            yield
        finally:
            _set_positions(models, positions)

    def after_layers(self, model: PreTrainedModel, kept: Mapping[str, Sequence[int]]) -> None:
        if "decoder" in kept:
            new = {old: i for i, old in enumerate(kept["decoder"])}
            _align(model, lambda layer, head: [new[layer], head] if layer in new else None)

    def after_heads(self, model: PreTrainedModel, kept: Mapping[str, Mapping[int, Sequence[int]]]) -> None:
        new = {layer: {old: i for i, old in enumerate(stay)} for layer, stay in kept.get("decoder.cross", {}).items()}

        def moved(layer: int, head: int) -> list[int] | None:
            if layer not in new:
                return [layer, head]
            return [layer, new[layer][head]] if head in new[layer] else None

        _align(model, moved)


def _set_positions(models: Sequence[Any], positions: Sequence[int]) -> None:
    for model, count in zip(models, positions, strict=True):
        # past the check for whole numbers: while a graph is traced they are symbols
        object.__setattr__(model.config, "max_source_positions", count)
        model.model.encoder.embed_positions.num_embeddings = count


def _align(model: Any, moved: Callable[[int, int], list[int] | None]) -> None:
    """Word timestamps read some cross-attention heads, [layer, head]: name them by their new numbers or not at all."""
    heads = getattr(model.generation_config, "alignment_heads", None)
    if heads is not None:
        left = [there for there in (moved(*pair) for pair in heads) if there is not None]
        model.generation_config.alignment_heads = left or None


def _touched(heard: Tensor) -> int:
    """How many frames of [bins, frames] the audio touches: those before the silence that `collate` repeats."""
    (places,) = (heard != heard[:, -1:]).any(0).nonzero(as_tuple=True)
    return int(places[-1]) + 1 if len(places) else heard.shape[-1]


def _filled(heard: Tensor, window: int) -> Tensor:
    """The frames [bins, frames], the last one repeated to the window's end."""
    import torch

    return torch.cat([heard, heard[:, -1:].expand(-1, window - heard.shape[-1])], dim=1)


def _language(model: Any, tokenizer: Any, states: Any) -> list[str]:
    """The language that the model hears in the encoder's output for one example; none if it was told of one alone."""
    if whisper_tokens.english_only(tokenizer):
        return []
    (token,) = model.detect_language(encoder_outputs=states).tolist()
    return [tokenizer.convert_ids_to_tokens(token).strip("<|>")]


def _timed(tokenizer: Any, found: Sequence[Mapping[str, Any]], limit: int) -> Hypothesis:
    """A hypothesis from the segments that transformers' `generate` returns. limit: the most new tokens of a call."""
    segments, end, cut = [], tokenizer.convert_tokens_to_ids(END), False
    for segment in found:
        result = segment["result"]  # with fallbacks it has the scores beside it
        tokens = segment["tokens"].tolist()
        whole = (result["sequences"] if isinstance(result, dict) else result).tolist()
        times = [token for token in tokens if token in tokenizer.timestamps]
        # the end that `generate` names where the model wrote none is that of the window
        ended = len(times) > 1 and tokens[-1] in tokenizer.timestamps
        text = tokenizer.decode(
            [token for token in tokens if token not in tokenizer.timestamps], skip_special_tokens=True
        )
        segments.append(Segment(float(segment["start"]), float(segment["end"]) if ended else None, text.strip()))
        cut = cut or (len(whole) > limit and end not in whole)
    return Hypothesis(" ".join(s.text for s in segments if s.text), cut, segments)


def _frames(extractor: Any, heard: int) -> tuple[int, int]:
    """The frames of so many samples, and the samples that they are computed from."""
    hop, size = extractor.hop_length, extractor.n_fft
    window = max(int(extractor.n_samples), heard)
    # frame t covers the samples from t * hop - size / 2 to t * hop + size / 2: the last one here is all silence
    frames = (heard + size // 2 + hop - 1) // hop + 1
    samples = frames * hop + size
    # too near the window's end, the transform mirrors the signal
    return (window // hop, window) if samples > window else (frames, samples)


def _log_mel(extractor: Any, wave: np.ndarray) -> np.ndarray:
    """What WhisperFeatureExtractor gives for audio padded with silence, [time, bins], up to its first silent frame, or for the
    whole of audio that is longer than its window."""
    import numpy as np
    import torch

    hop, size = extractor.hop_length, extractor.n_fft
    frames, samples = _frames(extractor, len(wave))
    padded = torch.zeros(samples)
    padded[: len(wave)] = torch.from_numpy(wave)
    spectrum = torch.stft(padded, size, hop, window=torch.hann_window(size), return_complex=True)
    power = (spectrum[:, :frames].abs() ** 2).contiguous()
    filters = torch.from_numpy(np.asarray(extractor.mel_filters)).float()
    mel = (filters.T @ power).clamp_min(1e-10).log10()
    mel = torch.maximum(mel, mel.max() - 8.0)
    return ((mel + 4.0) / 4.0).T.contiguous().numpy()


FAMILY = Whisper(
    name="whisper",
    task="asr",
    objective="seq2seq",
    model_type="whisper",
    published=("whisper",),
    architecture="WhisperForConditionalGeneration",
    config="WhisperConfig",
    stacks=BART_STACKS,
    scratch=Scratch,
    tokenizer=subwords.BytePairs,
    dropouts=("dropout",),
    exports=("safetensors", "ctranslate2", "onnx", "ggml"),
    windows=True,
    prompted=False,
    told=True,
    timed=True,
    word_times=True,
    trimmed=True,
)
