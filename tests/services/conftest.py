"""A real Slurm, and stores in the likeness of S3 and Azure Blob, each started once and ended by the last test; and the workflow as
a user has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..clones import clone
from .servers import ACCOUNT, KEY, SECRET, free_port, need, served

SLURM = Path(__file__).with_name("slurm.sh")
DAEMONS = ("munged", "slurmctld", "slurmd")
STANDARD = Path("/etc/slurm/slurm.conf")  # where a job step's srun looks, and nowhere else


def missing() -> str | None:
    """Why no Slurm is started here."""
    if not os.environ.get("CONSOMME_SERVICES"):
        return "starts servers: make test-services"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "slurmd has to run as root"
    if STANDARD.exists():
        return f"{STANDARD} is there already: this machine has a Slurm of its own"
    return None


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[None]:
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run(["bash", SLURM, "start", folder], stderr=subprocess.PIPE, text=True, timeout=60)
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run(["bash", SLURM, "stop", folder], check=True, timeout=90)


@pytest.fixture(scope="session")
def cloned():
    """`cloned(folder)`: the workflow as it stands."""
    return clone


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[dict[str, str]]:
    program = need("s3fs", "s3", "moto_server", "pip install 'moto[server]'")
    port = free_port()
    with served([program, "-H", "127.0.0.1", "-p", str(port)], port, tmp_path_factory.mktemp("moto")):
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def az(tmp_path_factory) -> Iterator[dict[str, str]]:
    program = need("adlfs", "azure", "azurite-blob", "npm install azurite, and its node_modules/.bin on the path")
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    more = ["--location", str(folder), "--disableTelemetry", "--skipApiVersionCheck"]
    with served([program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *more], port, folder):
        yield {
            "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        }
