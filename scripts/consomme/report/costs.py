"""What models cost: size, arithmetic, speed, memory.

    python -m consomme.report.costs --spec FILE --out results/EXPERIMENT/costs.tsv --threads N

Run it with the machine to itself. Models of one architecture (same config, same shapes of weights) share what was
measured on the first of them; each in a process of its own, so that peaks of memory don't mix.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.stage import main
from consomme.families import device_named
from consomme.families.ensemble import FILE

COLUMNS = [
    *("model", "replicate", "parameters", "bytes", "flops", "speed", "speed_unit", "memory", "device"),
    *("speed_low", "speed_high"),
]
UTTERANCES = 16
ROUNDS = 5
WEIGHTS = "model.safetensors"
# what a config says of where it comes from, not of what is computed
VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash")


def run(job: Job) -> None:
    """Write costs.tsv: a row a model and replicate.

    Of the spec: models [{name, replicate, folder}], sets (corpora of one development set), corpora {name: folder},
    languages, decoding."""
    device = device_named(job.device)
    measured: dict[str, dict[str, Any]] = {}
    rows = []
    for model in job.spec["models"]:
        folder = Path(model["folder"])
        row = {"model": model["name"], "replicate": str(model["replicate"]), "device": device_name(device)}
        parts = weights(folder)
        if parts:
            key = architecture(folder)
            if key not in measured:
                say(f"measuring {model['name']}")
                measured[key] = _apart(folder, job.spec, device, job.threads)
            row |= measured[key]
            row["bytes"] = sum(part.stat().st_size for part in parts)
        else:
            # an export for another engine: its size is known, the rest is that engine's
            row["bytes"] = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            row["device"] = ""
        rows.append(row)
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(_cell(row.get(c)) for c in COLUMNS) for row in sorted(rows, key=_order)]
    write_text(job.out, "\n".join(lines) + "\n")
    say(f"wrote {job.out}: {len(rows)} models, {len(measured)} measured")


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["model"], row["replicate"]


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def shapes(path: Path) -> dict[str, Any]:
    """Name -> [dtype, shape] of the tensors of a safetensors file, from its header alone."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return {name: [entry["dtype"], entry["shape"]] for name, entry in header.items() if name != "__metadata__"}


def architecture(folder: Path) -> str:
    """A digest of what decides how much a model computes: its config and the shapes of its weights."""
    config = {k: v for k, v in read_json(folder / "config.json").items() if k not in VOLATILE}
    return digest([config, *(shapes(part) for part in weights(folder))])


def weights(folder: Path) -> list[Path]:
    """The files that hold a model's weights: its own, or those of an ensemble's members; none for another engine's."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    members = read_json(folder / FILE)["members"] if (folder / FILE).is_file() else []
    return [folder / member / WEIGHTS for member in members]


def device_name(device: str) -> str:
    """The name of the processor or accelerator."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _apart(folder: Path, spec: Mapping[str, Any], device: str, threads: int) -> dict[str, Any]:
    # a forked child has the imports already; CUDA can't be used after a fork, so there it is a fresh process
    fork = device == "cpu" and sys.platform.startswith("linux")
    if fork:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    context = multiprocessing.get_context("fork" if fork else "spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_measure_into, args=(send, str(folder), dict(spec), device, threads))
    child.start()
    send.close()
    try:
        kind, answer = receive.recv()
    except EOFError:
        kind, answer = "error", "the process died; was there too little memory?"
    child.join()
    if kind == "error":
        raise ConsommeError(f"{folder} could not be measured: {answer}")
    return answer


def _measure_into(send: Any, folder: str, spec: dict[str, Any], device: str, threads: int) -> None:
    try:
        send.send(("measured", measure(Path(folder), spec, device, threads)))
    except Exception as error:  # a child has no other way to say it
        send.send(("error", f"{type(error).__name__}: {error}"))


def measure(folder: Path, spec: Mapping[str, Any], device: str, threads: int) -> dict[str, Any]:
    """Measure one model on the first 16 rows of the spec's development set.

    parameters: numbers in the model; flops: floating-point operations of one encoder and teacher-forced decoder pass,
    for a second of audio or a token of the source; speed: seconds of audio, or tokens written, per second of
    generation, median of five rounds after a warm-up; speed_low, speed_high: of the slowest and the fastest; memory: peak
    in MiB, of the process (cpu) or the device. A model that writes word by word writes as much as the longest reference
    of these rows has, whatever it says: one that babbles or falls silent, as pruned ones do before they are healed, would
    be timed for that, and so would all of its architecture."""
    import torch

    from consomme.data.prepared import Rows
    from consomme.families import family_of, load
    from consomme.families.windows import fitting, is_short, without

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    rows = Rows.open({name: spec["corpora"][name] for name in spec["sets"]})
    rows = rows.select(range(min(UTTERANCES, len(rows))))
    family = family_of(folder)
    model, processor = load(folder, device), family.processor(folder, spec["languages"])
    features = [family.features(processor, rows.source(i)) for i in range(len(rows))]
    labels = [family.labels(processor, text, spec["languages"]) for text in rows.targets]
    speech = rows.task == "asr"
    amount = float(rows.seconds.sum()) if speech else float(sum(len(f) for f in features))
    with torch.inference_mode():
        short = is_short(family, model.config, spec.get("decoding"))
        window = fitting(family, short, max(map(len, features)))
        batch = {k: v.to(device) for k, v in family.collate(processor, features, labels, **window).items()}
        wanted = batch.pop("labels")
        if family.objective == "seq2seq" and "decoder_input_ids" not in batch:
            batch["decoder_input_ids"] = family.decoder_inputs(model, wanted)
        with flop_counter() as counter, family.fitted(model, batch):
            model(**batch)
        del batch
        batch = {k: v.to(device) for k, v in family.collate(processor, features, None, **window).items()}
        decoding = without(spec.get("decoding") or {})
        if family.objective == "seq2seq":
            decoding = as_long(decoding, max(map(len, labels)))
        times = []
        for _ in range(ROUNDS + 1):
            _settle(device)
            start = time.perf_counter()
            family.generate(model, processor, batch, spec["languages"], decoding)
            _settle(device)
            times.append(time.perf_counter() - start)
    written = amount if speech else float(len(rows) * decoding["max_new_tokens"])
    if device.startswith("cuda"):
        memory = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops": float(counter.get_total_flops()) / amount,
        "speed": written / statistics.median(times[1:]),
        "speed_low": written / max(times[1:]),
        "speed_high": written / min(times[1:]),
        "speed_unit": "s audio/s" if speech else "tokens/s",
        "memory": round(memory, 1),
    }


def as_long(decoding: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Decoding settings by which every row gets so many tokens, or as many as the settings allow."""
    count = min(tokens, decoding.get("max_new_tokens") or tokens)
    return {**decoding, "min_new_tokens": count, "max_new_tokens": count}


def flop_counter() -> Any:
    """torch's counter, which also counts the attention kernel of processors: torch knows a formula for those of GPUs
    alone, and would call attention free on this device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *others: Any, out_shape: Any = None, **more: Any) -> int:
        return sdpa_flop_count(query, key, value)

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={kernel: attention})


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main(run, "Measure what the models of an experiment cost.")
