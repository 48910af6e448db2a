"""The peer: transformers' Seq2SeqTrainer, set up as its examples run_speech_recognition_seq2seq.py and
run_translation.py do, on a prepared corpus: python bench/training/seq2seq_trainer.py --help

Speech: features padded to the model's full window by WhisperFeatureExtractor beforehand, batches of --batch rows in random
order. The script keeps features in an Arrow file and converts them to Python lists and back for each batch; here they are
read from a memory-mapped array, which is faster. Text: padded to the longest of the batch, also in random order."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import watch


class Speech:
    """Features of the full window, and labels, of each row."""

    def __init__(self, processor: Any, corpus: Path, most: int) -> None:
        from consomme.data.prepared import Rows

        rows = Rows.open({"corpus": corpus})
        count, place = min(most, len(rows)), corpus / f"padded-{most}.npy"
        if not place.exists():
            shape = (count, processor.feature_extractor.feature_size, processor.feature_extractor.nb_max_frames)
            store = np.lib.format.open_memmap(place.with_suffix(".part"), "w+", np.float32, shape)
            for i in range(count):
                found = processor.feature_extractor(rows.audio(i), sampling_rate=rows.sampling_rate)
                store[i] = found.input_features[0]
            store.flush()
            place.with_suffix(".part").rename(place)
        self.features = np.load(place, mmap_mode="r")
        self.labels = [processor.tokenizer(text).input_ids for text in rows.targets[:count]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input_features": self.features[i], "labels": self.labels[i]}


class SpeechCollator:
    """As DataCollatorSpeechSeq2SeqWithPadding: remove the start token if all rows have it, as the model adds it again."""

    def __init__(self, processor: Any, start: int) -> None:
        self.processor, self.start = processor, start

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        features = [{"input_features": row["input_features"]} for row in rows]
        batch = self.processor.feature_extractor.pad(features, return_tensors="pt")
        padded = self.processor.tokenizer.pad([{"input_ids": row["labels"]} for row in rows], return_tensors="pt")
        labels = padded["input_ids"].masked_fill(padded.attention_mask.ne(1), -100)
        if (labels[:, 0] == self.start).all():
            labels = labels[:, 1:]
        batch["labels"] = labels
        return batch


def texts(processor: Any, corpus: Path, family: Any, languages: list[str]) -> list[dict[str, Any]]:
    """Token ids of both sides of each row."""
    from consomme.data.prepared import Rows

    rows, found = Rows.open({"corpus": corpus}), []
    for source, target in zip(rows.sources, rows.targets, strict=True):
        ids = [int(i) for i in family.features(processor, source)]
        labels = [int(i) for i in family.labels(processor, target, languages)]
        found.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return found


def held(batch: dict[str, Any]) -> dict[str, float]:
    """Utterances and target tokens of a batch."""
    return {"utterances": len(batch["labels"]), "tokens": int((batch["labels"] != -100).sum())}


def main() -> None:
    """Train, and write the timed steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["speech", "text"])
    parser.add_argument("record", type=Path, help="file for the timed steps")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=128, help="speech: largest number of rows of the corpus")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--warmup-steps", type=int, default=0)
    parser.add_argument("--schedule", default="linear")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for the trained model; default: not saved")
    given = parser.parse_args()
    import torch
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed

    from consomme.families import family_of, load
    from consomme.train.stage import quiet

    quiet()
    torch.set_num_threads(given.threads)
    set_seed(1)
    family = family_of(given.model)
    processor, model = family.processor(given.model, given.languages), load(given.model)
    if given.task == "speech":
        processor.tokenizer.set_prefix_tokens(language=given.languages[0], task="transcribe")
        data: Any = Speech(processor, given.corpus, given.rows)
        collator: Any = SpeechCollator(processor, model.config.decoder_start_token_id)
    else:
        data = texts(processor, given.corpus, family, given.languages)
        collator = DataCollatorForSeq2Seq(processor, model=model, label_pad_token_id=-100)
    steps = watch.watch(held)
    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            max_steps=given.steps,
            per_device_train_batch_size=given.batch,
            learning_rate=given.learning_rate,
            warmup_steps=given.warmup_steps,
            lr_scheduler_type=given.schedule,
            bf16=given.precision == "bfloat16",
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
            remove_unused_columns=False,
        )
        Seq2SeqTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator).train()
    watch.write(given.record, steps)
    if given.out:
        from consomme.train.stage import save

        save(model, given.model, given.out, {})


if __name__ == "__main__":
    main()
