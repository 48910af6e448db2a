"""Stages that start at once: a process that has imported the heavy libraries forks a child for each job.

Why: importing torch and transformers takes four to five seconds of a processor, often more than a small job computes.

How: a Snakemake that runs jobs on its own machine sets two variables. CONSOMME_PRELOAD_FOR is its process number,
CONSOMME_PRELOAD the modules to import, separated by commas. The first stage that it starts then starts a server that
imports them, and the stages hand themselves over to it: arguments, working directory and open files go to the child,
its exit status comes back. The server ends with that Snakemake. A job whose stage is killed is killed too. An empty
CONSOMME_PRELOAD turns all of this off: each stage then runs in its own process, as it does under a debugger or profiler
that is to see it.

What it must never do: change what a job computes, prints or answers; run a job twice; outlive its Snakemake and its
jobs; take jobs of another user, working directory or environment; name a stage, or import anything of this package by
itself. Where it can't do its work, the stage runs as if it were not there.

Only on Linux and without a GPU, whose driver can't be used on both sides of a fork. Libraries read the environment when
they are loaded, so there is one server for each environment; it has one thread, and every stage sets the threads of
torch itself."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

OWNER = "CONSOMME_PRELOAD_FOR"  # the process that the server lives for
MODULES = "CONSOMME_PRELOAD"  # what it imports
THREADS = ("_NUM_THREADS", "_MAXIMUM_THREADS")
DEVICES = ("/dev/nvidiactl", "/dev/kfd")
PATIENCE = 10.0  # seconds that a server may take until it listens
TAKEN = b"!"  # there is a child
STATUS = struct.Struct("i")
GRACE = 10.0  # seconds between asking a child to end and ending it


# -- the stage ---------------------------------------------------------------------------------------------------------
def hand_over(argv: list[str]) -> int | None:
    """Let the server run this module, the program's `__main__`, with `argv`. Returns its exit status; None where there is
    to be no server, or it can't be reached."""
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    owner, threads = os.environ.get(OWNER, ""), {k: v for k, v in os.environ.items() if k.endswith(THREADS)}
    if not module or not owner.isdigit() or not os.environ.get(MODULES):
        return None
    if sys.platform != "linux" or any(map(os.path.exists, DEVICES)):
        return None
    try:
        connection = _connect(_place(owner))
    except OSError:
        return None
    with connection:
        try:
            socket.send_fds(connection, [json.dumps([module, argv, threads]).encode() + b"\n"], [0, 1, 2])
            if not connection.recv(len(TAKEN)):
                return None
        except OSError:  # the server has ended before it had a child: a module that can't be imported, no memory
            return None
        try:
            answer = connection.recv(STATUS.size)
        except ConnectionResetError:
            answer = b""
    if len(answer) < STATUS.size:
        print("error: the process that ran this job has disappeared", file=sys.stderr)
        return 1
    (status,) = STATUS.unpack(answer)
    if status < 0:  # a signal's number: end as the job did
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _place(owner: str) -> Path:
    """The folder of the server for this user, this Snakemake, this environment and this working directory."""
    # _: of the shell, the command itself; SHLVL: how deep
    environment = sorted((k, v) for k, v in os.environ.items() if k not in ("_", "SHLVL") and not k.endswith(THREADS))
    known = json.dumps([owner, sys.executable, os.getcwd(), environment])
    name = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"consomme-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise PermissionError(f"{folder} is open to others")
    return folder


def _connect(folder: Path) -> socket.socket:
    """A connection to the server, which is started where there is none."""
    with suppress(OSError):
        return _dial(folder)
    with FileLock(folder / "lock"):
        with suppress(OSError):
            return _dial(folder)
        command = [sys.executable, "-m", __name__, str(folder), os.environ[OWNER]]
        single = {k: "1" if k.endswith(THREADS) else v for k, v in os.environ.items()} | {"OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=single, start_new_session=True)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError):
                return _dial(folder)
            time.sleep(0.02)
    raise TimeoutError(str(folder))


def _dial(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "socket"))
    except OSError:
        connection.close()
        raise
    return connection


# -- the server --------------------------------------------------------------------------------------------------------
def serve(folder: Path, owner: int) -> None:
    """Fork a child for each job until the process `owner` has ended and no job runs."""
    with socket.socket(socket.AF_UNIX) as listener:
        (folder / "socket").unlink(missing_ok=True)
        listener.bind(str(folder / "socket"))
        listener.listen(128)
        try:
            alive = os.pidfd_open(owner)
            for module in os.environ[MODULES].split(","):
                importlib.import_module(module.strip())
            _loop(listener, alive)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _loop(listener: socket.socket, owner: int) -> None:
    watched = selectors.DefaultSelector()
    watched.register(listener, selectors.EVENT_READ, "job")
    watched.register(owner, selectors.EVENT_READ, "owner")
    jobs: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> pid and the stage that waits for it
    killing: dict[int, float] = {}  # pidfd -> when its time is up
    owned = True
    while owned or jobs:
        for key, _ in watched.select(timeout=1.0 if killing else None):
            if key.data == "owner":
                owned = False
                watched.unregister(owner)
            elif key.data == "job":
                connection, _ = listener.accept()
                message, files = _receive(connection)
                if len(files) < 3:  # the stage is gone already
                    connection.close()
                    continue
                try:
                    pid = os.fork()
                except OSError:  # too many processes or too little memory: the stage runs itself
                    connection.close()
                    continue
                if pid == 0:
                    for unneeded in (listener, connection, *(c for _, c in jobs.values())):
                        unneeded.close()
                    _child(message, files)
                for file in files:
                    os.close(file)
                with suppress(OSError):
                    os.setpgid(pid, pid)  # here too, so that it can be killed from now on
                    connection.sendall(TAKEN)
                child = os.pidfd_open(pid)
                jobs[child] = pid, connection
                watched.register(child, selectors.EVENT_READ, "ended")
                watched.register(connection, selectors.EVENT_READ, child)
            elif key.data == "ended":
                pid, connection = jobs.pop(key.fd)
                killing.pop(key.fd, None)
                watched.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(pid, 0)
                if connection.fileno() >= 0:
                    with suppress(OSError):
                        connection.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))
                    with suppress(KeyError):
                        watched.unregister(connection)
                    connection.close()
            elif key.data in jobs:  # its stage is gone
                pid, connection = jobs[key.data]
                watched.unregister(connection)
                connection.close()
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
                killing[key.data] = time.monotonic() + GRACE
        for child, until in killing.items():
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.killpg(jobs[child][0], signal.SIGKILL)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A job's line, and its three files."""
    message, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while message and not message.endswith(b"\n"):
        message += connection.recv(1 << 20) or b"\n"
    return message, files


def _child(message: bytes, files: list[int]) -> None:
    """Become the job, to its end."""
    status = 1
    try:
        os.setpgid(0, 0)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        status = _run(*json.loads(message))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)  # not through the end of the interpreter, which takes a second with all that is loaded


def _run(module: str, argv: list[str], threads: dict[str, str]) -> int:
    """Run a module as Python's -m would, in this process."""
    os.environ.pop(OWNER, None)
    os.environ.update(threads)
    sys.argv = [module, *argv]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code: Any = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        return code if isinstance(code, int) else int(code is not None)
    return 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
