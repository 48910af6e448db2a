"""One process of a training on several GPUs: `python -m consomme.train.rank TASK [RANK]`, started by `launch`. Under srun the rank
is Slurm's number of the process."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common import gpus
from consomme.common.errors import exit_on_error
from consomme.common.files import read_json, write_json
from consomme.common.job import Job
from consomme.common.log import introduce, silence
from consomme.train.interruption import GO_ON, interruptible
from consomme.train.launch import ADDRESS
from consomme.train.ranks import INTERRUPTED, PATIENCE, Ranks, Told, Untold

if TYPE_CHECKING:
    from torch.distributed import TCPStore

# how accelerate finds out that it is one of several; Trainer shall take each rank for a training by itself
DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "PMI_RANK", "PMI_SIZE")


def main(task: Path, rank: int | None) -> None:
    """Train as one rank of a task that `launch` has written."""
    given = read_json(task)
    local = rank
    if rank is None:
        rank, local = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_LOCALID"])
        if len(cards := gpus.visible()) > 1:
            os.environ[gpus.VISIBLE] = cards[local % len(cards)]
    for name in DISTRIBUTED:
        os.environ.pop(name, None)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    threading.Thread(target=end_with_input, daemon=True).start()
    introduce(given["spec"].get("label", {}))
    if rank:
        silence()
    folder, work = Path(given["folder"]), Path(given["work"])
    with exit_on_error(), interruptible() as interruption:
        from consomme.families import device_named
        from consomme.train.stage import build

        device = device_named(given["device"])
        try:
            with joined(Ranks(rank, given["ranks"]), work / ADDRESS, device) as ranks:
                build(job_of(given), folder, work, interruption, ranks, given["splits"])
        except Untold as failed:
            raise failed.__cause__ or failed from None
        except Told as told:  # who left says why
            raise SystemExit(GO_ON if told.event == INTERRUPTED else 1) from None


def job_of(given: Mapping[str, Any]) -> Job:
    """The job of a task."""
    inputs = {name: Path(path) for name, path in given["inputs"].items()}
    out, state, cache = (Path(given[key]) for key in ("out", "state", "cache"))
    return Job(given["spec"], inputs, out, state, cache, given["threads"], given["device"])


@contextmanager
def joined(ranks: Ranks, address: Path, device: str) -> Generator[Ranks]:
    """The ranks of this training, connected to each other. The first one writes to `address` where it is found."""
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    store = meeting(ranks, address)
    distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.count, timeout=PATIENCE)
    yield ranks
    # not after an exception: the others may be waiting, and see that this process has ended
    distributed.destroy_process_group()


def meeting(ranks: Ranks, address: Path) -> TCPStore:
    """The store at which the ranks meet, on the first one's host."""
    from torch.distributed import TCPStore

    if ranks.first:
        host = socket.gethostname() if "SLURM_PROCID" in os.environ else "127.0.0.1"
        store = TCPStore(host, 0, ranks.count, is_master=True, timeout=PATIENCE, wait_for_workers=False)
        write_json(address, {"host": host, "port": store.port})
        return store
    while not address.exists():
        time.sleep(0.05)
    found = read_json(address)
    return TCPStore(
        found["host"], found["port"], ranks.count, is_master=False, timeout=PATIENCE, wait_for_workers=False
    )


def end_with_input() -> None:
    """End this process when its standard input ends: the launcher has been killed."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
