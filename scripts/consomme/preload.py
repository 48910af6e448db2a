"""Fast start of stages: a server process imports the heavy libraries once and forks a child for each job.

Why: importing torch and transformers takes four to five seconds of processor time, often more than a small job.

How: a Snakemake that runs jobs on its own machine sets two variables. CONSOMME_PRELOAD_FOR is its process number,
CONSOMME_PRELOAD the modules to import, separated by commas. The first stage that it starts then starts a server that
imports them. Each stage sends its arguments, working directory and open files to the server, a child runs the job, and
the stage returns the child's exit status. An empty CONSOMME_PRELOAD turns this off: each stage then runs in its own
process, as a debugger or profiler needs it.

A job ends with its stage, with the server, and with that Snakemake, also if they are killed: it gets SIGTERM, at which a
training saves. The server ends with that Snakemake.

The server must never change a job's results, output or exit status; run a job twice; outlive its Snakemake and its
jobs; take jobs of another user, working directory or environment; name a stage, or import anything of this package by
itself. If the server can't work, the stage runs without it.

Only on Linux and without a GPU, because a GPU's driver can't be used before and after a fork. Libraries read the
environment when they are loaded, so there is one server per environment. It has one thread, and every stage sets the
threads of torch itself."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

OWNER = "CONSOMME_PRELOAD_FOR"  # id of the process with which the server ends
MODULES = "CONSOMME_PRELOAD"  # the modules that it imports
THREADS = ("_NUM_THREADS", "_MAXIMUM_THREADS")
DEVICES = ("/dev/nvidiactl", "/dev/kfd")
PATIENCE = 10.0  # seconds to wait for a server's socket
TAKEN = struct.Struct("i")  # the child's process number, sent when it exists
STATUS = struct.Struct("i")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
GRACE = 10.0  # seconds between SIGTERM and SIGKILL for a child
PARENT_DIED = 1  # PR_SET_PDEATHSIG of prctl(2)


# -- the stage ---------------------------------------------------------------------------------------------------------
def hand_over(argv: list[str]) -> int | None:
    """Let the server run the program's `__main__` module with `argv`. Returns its exit status; None if there is no server
    or it can't be reached: this process then runs the job, and gets SIGTERM when its Snakemake is killed. 1 if that was
    killed before."""
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    owner = os.environ.get(OWNER, "")
    if not module or not owner.isdigit() or sys.platform != "linux":
        return None
    try:
        alive = os.pidfd_open(int(owner))
    except ProcessLookupError:
        return _without_owner()
    except OSError:  # an old kernel
        return None
    wanted = os.environ.get(MODULES) and not any(map(os.path.exists, DEVICES))
    status = _handed_over(module, argv, owner) if wanted else None
    if status is None:
        if select.select([alive], [], [], 0)[0]:
            return _without_owner()
        _end_with(alive, lambda: os.kill(os.getpid(), signal.SIGTERM))
    return status


def _without_owner() -> int:
    print("error: Snakemake was killed, and this job ends with it", file=sys.stderr)
    return 1


def _handed_over(module: str, argv: list[str], owner: str) -> int | None:
    threads = {k: v for k, v in os.environ.items() if k.endswith(THREADS)}
    try:
        connection = _connect(_place(owner))
    except OSError:
        return None
    with connection:
        try:
            socket.send_fds(connection, [json.dumps([module, argv, threads]).encode() + b"\n"], [0, 1, 2])
            taken = connection.recv(TAKEN.size)
            if len(taken) < TAKEN.size:
                return None
        except OSError:  # the server ended before it had a child: a failed import, no memory
            return None
        (child,) = TAKEN.unpack(taken)
        _pass_on(child)
        try:
            alive = os.pidfd_open(child)
        except ProcessLookupError:
            alive = None  # it has ended already
        try:
            answer = connection.recv(STATUS.size)
        except ConnectionResetError:
            answer = b""
    if len(answer) < STATUS.size:
        if alive is not None and not select.select([alive], [], [], GRACE)[0]:  # a training saves
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(alive, signal.SIGKILL)
        print(
            "error: the process that starts jobs was killed, perhaps for lack of memory, and this job ended with it. What "
            "is finished is kept: run again",
            file=sys.stderr,
        )
        return 1
    (status,) = STATUS.unpack(answer)
    if status < 0:  # killed by a signal: end in the same way
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _pass_on(child: int) -> None:
    """Signals to this process are the child's: a training saves at them, other stages end."""

    def send(number: int, frame: Any) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, send)


def _end_with(owner: int, end: Callable[[], None]) -> Callable[[], None]:
    """Call `end` in a thread when the process of this pidfd ends. Returns what ends the thread instead."""
    unneeded = threading.Event()

    def watch() -> None:
        while not select.select([owner], [], [], 0.1)[0]:
            if unneeded.is_set():
                return
        end()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> None:
        unneeded.set()
        thread.join()

    return stop


def _place(owner: str) -> Path:
    """The socket of the server for this user, this Snakemake, this environment and this working directory."""
    # the shell sets _ to the command, SHLVL to the nesting of shells
    environment = sorted((k, v) for k, v in os.environ.items() if k not in ("_", "SHLVL") and not k.endswith(THREADS))
    known = json.dumps([owner, sys.executable, os.getcwd(), environment])
    folder = Path(tempfile.gettempdir()) / f"consomme-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()  # others may write into the folder of temporary files: a link there is theirs
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is open to others")
    return folder / hashlib.blake2b(known.encode(), digest_size=8).hexdigest()


def _connect(place: Path) -> socket.socket:
    """A connection to the server, which is started if none runs."""
    with suppress(OSError):
        return _dial(place)
    with FileLock(place.with_name("lock")):  # of all servers: a socket is either answered or left
        with suppress(OSError):
            return _dial(place)
        _remove_left(place.parent)
        command = [sys.executable, "-m", __name__, str(place), os.environ[OWNER]]
        single = {k: "1" if k.endswith(THREADS) else v for k, v in os.environ.items()} | {"OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=single, start_new_session=True)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError):
                return _dial(place)
            time.sleep(0.02)
    raise TimeoutError(str(place))


def _remove_left(folder: Path) -> None:
    """Remove the sockets of servers that were killed."""
    for place in folder.iterdir():
        if place.name == "lock":
            continue
        try:
            _dial(place).close()
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)
        except OSError:  # a server with too much to do
            continue


def _dial(place: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(place))
    except OSError:
        connection.close()
        raise
    return connection


# -- the server --------------------------------------------------------------------------------------------------------
def serve(place: Path, owner: int) -> None:
    """Fork a child for each job until the process `owner` has ended; its jobs are asked to end then."""
    for number in PASSED_ON:  # the shell of the stage that started this server may ignore them
        signal.signal(number, signal.SIG_DFL)
    # who ends all processes of a run ends the jobs so, and this one passes on how they ended
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    with socket.socket(socket.AF_UNIX) as listener:
        place.unlink(missing_ok=True)
        listener.bind(str(place))
        place.chmod(0o600)
        listener.listen(128)
        try:
            alive = os.pidfd_open(owner)
            stop_watching = _end_with(alive, lambda: _give_up(place))
            for module in os.environ[MODULES].split(","):
                importlib.import_module(module.strip())
            stop_watching()
            _loop(listener, alive)
        finally:
            place.unlink(missing_ok=True)


def _give_up(place: Path) -> None:
    """End while modules are imported."""
    place.unlink(missing_ok=True)
    os._exit(1)


def _loop(listener: socket.socket, owner: int) -> None:
    watched = selectors.DefaultSelector()
    watched.register(listener, selectors.EVENT_READ, "job")
    watched.register(owner, selectors.EVENT_READ, "owner")
    jobs: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> pid, connection of the waiting stage
    killing: dict[int, float] = {}  # pidfd -> time of its SIGKILL
    owned = True

    def end(child: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(jobs[child][0], signal.SIGTERM)
        killing.setdefault(child, time.monotonic() + GRACE)

    while owned or jobs:
        for key, _ in watched.select(timeout=1.0 if killing else None):
            if key.data == "owner":
                owned = False
                watched.unregister(owner)
                for child in jobs:
                    end(child)
            elif key.data == "job":
                connection, _ = listener.accept()
                message, files = _receive(connection)
                if len(files) < 3:  # the stage has already ended
                    connection.close()
                    continue
                server = os.getpid()
                try:
                    pid = os.fork()
                except OSError:  # too many processes or too little memory: the stage runs the job itself
                    connection.close()
                    continue
                if pid == 0:
                    for unneeded in (listener, connection, *(c for _, c in jobs.values())):
                        unneeded.close()
                    _child(message, files, server)
                for file in files:
                    os.close(file)
                with suppress(OSError):
                    os.setpgid(pid, pid)  # in the parent too, so that the group can be killed from now on
                    connection.sendall(TAKEN.pack(pid))
                child = os.pidfd_open(pid)
                jobs[child] = pid, connection
                watched.register(child, selectors.EVENT_READ, "ended")
                watched.register(connection, selectors.EVENT_READ, child)
                if not owned:
                    end(child)
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
            elif key.data in jobs:  # its stage has ended
                _, connection = jobs[key.data]
                watched.unregister(connection)
                connection.close()
                end(key.data)
        for child, until in killing.items():
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.killpg(jobs[child][0], signal.SIGKILL)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A job's message, and its three open files."""
    message, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while message and not message.endswith(b"\n"):
        message += connection.recv(1 << 20) or b"\n"
    return message, files


def _child(message: bytes, files: list[int], server: int) -> None:
    """Run the job in this child process of `server`, then exit."""
    status = 1
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGTERM)
        if os.getppid() != server:
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
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
        os._exit(status)  # skip the interpreter's shutdown, which takes a second with the loaded libraries


def _run(module: str, argv: list[str], threads: dict[str, str]) -> int:
    """Run a module in this process, like `python -m`."""
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
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    finally:
        os._exit(0)  # as of a child
