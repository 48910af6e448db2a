"""Speech2Text: an encoder-decoder Transformer over log-mel frames (Wang et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import BART_STACKS, enough
from consomme.families.codes import code_of
from consomme.families.greedy import pad_frames
from consomme.families.positions import bounded
from consomme.families.transcription import Transcriber

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3, as the config has them by default
RATE, FRAME, HOP = 16000, 400, 160  # Hz; samples of a frame and between frames at that rate
FEWEST = FRAME + HOP  # one frame alone has no variance to be divided by


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    input_feat_per_channel: keys.MelBins = 80
    d_model: keys.Width = 96
    encoder_layers: keys.EncoderLayers = 4
    decoder_layers: keys.DecoderLayers = 2
    encoder_attention_heads: keys.EncoderHeads = 4
    decoder_attention_heads: keys.DecoderHeads = 4
    encoder_ffn_dim: keys.EncoderNeurons = 256
    decoder_ffn_dim: keys.DecoderNeurons = 256
    conv_channels: keys.SubsamplerChannels = 96
    conv_kernel_sizes: keys.SubsamplerKernels = Field([5, 5])
    max_source_positions: keys.MostFrames = 6000
    max_target_positions: keys.MostTokens = 128
    dropout: keys.Dropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.0
    activation_dropout: keys.ActivationDropout = 0.0
    encoder_layerdrop: keys.LayerDrop = 0.0
    decoder_layerdrop: keys.DecoderLayerDrop = 0.0
    init_std: keys.Spread = 0.02


class Tokenizer(subwords.SentencePiece):
    """Its tokenizer."""

    vocab_size: keys.Pieces = 200


@dataclass(frozen=True)
class Speech2Text(Transcriber):
    """See `Family`."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import (
            GenerationConfig,
            Speech2TextConfig,
            Speech2TextFeatureExtractor,
            Speech2TextProcessor,
            Speech2TextTokenizer,
        )

        from consomme.common.files import write_json
        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(Speech2TextConfig().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        pieces, spm = subwords.sentencepiece(texts, tokens, self.name, ("unigram", "bpe"))
        vocabulary = {piece: i for i, (piece, _) in enumerate(subwords.behind(SPECIAL, pieces))}
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "vocab.json", vocabulary)
        (out / "sentencepiece.bpe.model").write_bytes(spm)
        bins = settings["input_feat_per_channel"]
        processor = Speech2TextProcessor(
            Speech2TextFeatureExtractor(feature_size=bins, num_mel_bins=bins),
            Speech2TextTokenizer(
                str(out / "vocab.json"),
                str(out / "sentencepiece.bpe.model"),
                model_max_length=settings["max_target_positions"],
            ),
        )
        model = new_model(self, settings, {"vocab_size": len(vocabulary)}, seed)
        model.generation_config = GenerationConfig(
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            max_length=settings["max_target_positions"],
        )
        save(model, processor, out)

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        # two gated convolutions that halve the frames
        return 25.0, 50.0 * 1.5 * config["conv_channels"] + 25.0 * 3 * config["d_model"]

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import Speech2TextProcessor

        return bounded(Speech2TextProcessor.from_pretrained(path, local_files_only=True), path)

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        import numpy as np

        from consomme.families.settings import mono

        extractor, wave = processor.feature_extractor, mono(source)
        enough(len(wave), FEWEST)
        found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"]
        return np.ascontiguousarray(found[0], dtype=np.float32)

    def length(self, processor: Any, samples: int) -> int | None:
        enough(samples, FEWEST)
        rate = processor.feature_extractor.sampling_rate
        return (samples - FRAME) // HOP + 1 if rate == RATE else None

    def prefix(self, processor: Any, languages: Sequence[str]) -> list[int]:
        """The language, for the checkpoints that translate into several."""
        tokenizer = processor.tokenizer
        if not tokenizer.lang_code_to_id or not languages:
            return []
        return [tokenizer.lang_code_to_id[code_of(languages[-1], tokenizer.lang_code_to_id, self.name)]]

    def some_languages(self, source: Path) -> list[str]:
        return list(self.processor(source).tokenizer.lang_code_to_id or {})[:1] or super().some_languages(source)

    def output_frames(self, model: Any, lengths: Tensor) -> Tensor:
        return model._get_feat_extract_output_lengths(lengths)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        return pad_frames(features, labels, processor.feature_extractor.padding_value)

    def padding_matters(self, config: Any) -> bool:
        return True  # its second convolution hears what the first one's bias makes of the padding


FAMILY = Speech2Text(
    name="speech2text",
    task="asr",
    objective="seq2seq",
    model_type="speech_to_text",
    published=("s2t-",),
    architecture="Speech2TextForConditionalGeneration",
    config="Speech2TextConfig",
    stacks=BART_STACKS,
    scratch=Scratch,
    tokenizer=Tokenizer,
    dropouts=("dropout",),
    optional=("embed_positions.weights",),  # sinusoids, computed anew
    told=True,
    trimmed=True,
)
