"""Which family a checkpoint of the hub belongs to, as far as its name tells."""

import pytest

from consomme.families import TABLE, family_published

NAMES = {
    "openai/whisper-large-v3": "whisper",
    "distil-whisper/distil-small.en": "whisper",
    "facebook/wav2vec2-xls-r-300m": "wav2vec2",
    "facebook/w2v-bert-2.0": "ctc",
    "facebook/hubert-large-ls960-ft": "hubert",
    "microsoft/wavlm-base-plus": "wavlm",
    "nvidia/parakeet-ctc-0.6b": "parakeet",
    "nvidia/canary-1b-v2": "canary",
    "CohereLabs/cohere-transcribe-03-2026": "cohere_asr",
    "nvidia/nemotron-speech-streaming-en-0.6b": "nemotron",
    "nvidia/nemotron-3.5-asr-streaming-0.6b": "nemotron3_5",
    "UsefulSensors/moonshine-tiny": "moonshine",
    "UsefulSensors/moonshine-streaming-tiny": "moonshine_streaming",
    "facebook/s2t-small-librispeech-asr": "speech2text",
    "Helsinki-NLP/opus-mt-en-fr": "marian",
    "facebook/nllb-200-distilled-600M": "m2m_100",
    "facebook/mbart-large-50-many-to-many-mmt": "mbart",
    "google/flan-t5-small": "t5",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_name_tells_the_family(name):
    found = family_published(name)
    assert found is not None and found.name == NAMES[name]


def test_other_names_tell_none():
    assert family_published("someone/unheard-of") is None


def test_every_architecture_of_the_table_has_a_word():
    assert [f.name for f in TABLE.values() if f.model_type and not f.published] == []
