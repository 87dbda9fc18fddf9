"""Start one process of a cell, hear what it tells, and stop it when it uses more than it may."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from harness import launch
from harness.errors import StorageError
from harness.experiment import Limits
from harness.reporter import event_of

Tell = Callable[[dict[str, Any]], None]
LOOK_S = 0.2
"""Time between two looks at the memory and the clock."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a process ended: `reason` is None where it did all it should; `phase` is the last one it told."""

    exit_code: int | None
    reason: str | None
    phase: str | None


def run_child(task: str, folder: Path, limits: Limits, *, deadline: float, threads: int, tell: Tell) -> Outcome:
    """Run `python -m harness.cell TASK FOLDER` to its end, or what `harness.launch` puts in its place.

    Its stderr and whatever is printed to its stdout are appended to cell.log. However this function is left, the
    process and all that it started are gone.

    Args:
        task: "index" or "search".
        folder: the cell's folder, with spec.json.
        limits: of the whole cell.
        deadline: the moment of `time.monotonic` at which the cell's time is up.
        threads: for the numeric libraries.
        tell: called with each event about phases, progress and training.

    Raises:
        StorageError: the process could not write to the disk; the cells after it could not either.
    """
    command = launch.command(task, folder, os.environ)
    with (folder / "cell.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            # The child ends itself when this pipe closes, so none outlives a parent that was killed.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(threads),
            # A group of its own: Ctrl-C reaches the parent alone, and all of the group can be stopped at once.
            start_new_session=True,
        )
    try:
        return _follow(process, _Story(tell), limits, deadline)
    finally:
        _stop(process)


class _Story:
    """What the process told so far."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.phase: str | None = None
        self.done = False
        self.error: Mapping[str, Any] | None = None

    def hear(self, line: bytes) -> None:
        """Take in one line; what is not an event of harness.cell is left out."""
        event = event_of(line)
        if event is None:
            return
        if "error" in event:
            self.error = event["error"]
        elif "done" in event:
            self.done = True
        else:
            self.phase = event.get("phase", self.phase)
            self._tell(event)

    def outcome(self, exit_code: int) -> Outcome:
        """Judge a process that ended by itself."""
        if self.error is not None:
            if self.error.get("storage"):
                raise StorageError(*self.error["storage"])
            return Outcome(exit_code, str(self.error["reason"]), self.phase)
        if exit_code < 0:
            return Outcome(exit_code, _killed_by(-exit_code), self.phase)
        if exit_code or not self.done:
            return Outcome(exit_code, f"the process ended early, with exit code {exit_code}", self.phase)
        return Outcome(exit_code, None, None)


def _follow(process: subprocess.Popen[bytes], story: _Story, limits: Limits, deadline: float) -> Outcome:
    lines = _lines(cast(IO[bytes], process.stdout))
    next_look = 0.0
    while True:
        line = next(lines)
        if line:
            story.hear(line)
        elif process.poll() is not None:
            return story.outcome(process.returncode)
        if time.monotonic() < next_look:
            continue
        reason = _excess(process.pid, limits, deadline)
        if reason is not None and process.poll() is None:
            _stop(process)
            return Outcome(process.returncode, reason, story.phase)
        next_look = time.monotonic() + LOOK_S


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Give each line as it comes, b"" where none came for a while, and b"" for ever once the stream has ended.

    A thread reads, so that neither silence nor a worker process that keeps the pipe open can block the caller.
    """
    found: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        # Closed here: closing it elsewhere would wait for this thread, and so for whoever still holds the other end.
        with stream:
            for line in stream:
                found.put(line)
        ended.set()
        found.put(b"")

    threading.Thread(target=read, name="events", daemon=True).start()
    while True:
        try:
            # The process needs a moment to be gone after its pipe has closed.
            yield found.get(timeout=LOOK_S / 10 if ended.is_set() else LOOK_S)
        except queue.Empty:
            yield b""


def _excess(pid: int, limits: Limits, deadline: float) -> str | None:
    """Say which limit is passed, if one is."""
    if time.monotonic() > deadline:
        return f"past its time limit of {limits.time_s:g} s"
    used = _tree_rss_bytes(pid) / 2**30
    if used > limits.memory_gb:
        return f"out of memory: used {used:.3g} GiB of the {limits.memory_gb:g} GiB allowed"
    return None


def _tree_rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and all below it; 0 once it is gone."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += int(process.memory_info().rss)
    return total


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and what it started, and wait until it is gone."""
    if sys.platform == "win32":
        process.kill()
    else:
        # The group outlives its leader where the leader left workers behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _killed_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"killed by {name}" + (" (often the kernel's out-of-memory killer)" if name == "SIGKILL" else "")


def usable_cores() -> int:
    """Return how many threads numeric work should use: physical cores this process may run on.

    A user's own OMP_NUM_THREADS takes precedence.
    """
    import psutil

    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _environment(threads: int) -> dict[str, str]:
    """Return the child's environment: this one's, the same import path, and fixed threads and hashes."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    ours = {name: str(threads) for name in _THREAD_VARIABLES}
    ours |= {"PYTHONPATH": path, "PYTHONFAULTHANDLER": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUTF8": "1"}
    return {"PYTHONHASHSEED": "0", **os.environ, **ours, "PATH": launch.search_path(os.environ)}
