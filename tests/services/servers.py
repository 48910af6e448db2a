"""Servers that stand for clouds, and their logins."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consomme.common.extras import installed

ACCOUNT = "devstoreaccount1"  # Azurite's, with a key that its documentation has
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SECRET = "s3cr3t"


def need(package: str, extra: str, program: str, install: str) -> str:
    """The program's path; skips where something is missing."""
    if not os.environ.get("CONSOMME_SERVICES"):
        pytest.skip("starts servers: make test-services")
    if not installed(package):
        pytest.skip(f"not installed: {package} (pip install -e '.[{extra}]')")
    path = shutil.which(program, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if path is None:
        pytest.skip(f"not installed: {program} ({install})")
    return path


@contextlib.contextmanager
def served(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A server, from when it listens until the end."""
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(20)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
