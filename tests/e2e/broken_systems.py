"""Systems that fail on purpose; an experiment names them "broken_systems:SYSTEM" with how = "…"."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import DataError
from harness.progress import SILENT, Progress
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split

How = Literal[
    "well", "raise", "refuse", "memory-error", "kill", "sleep", "eat", "eat-in-worker", "exit", "no-room", "print",
    "unknown-docid", "wrong-order", "too-few-lists", "train", "linger", "dev", "keep",
]  # fmt: skip


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    how: How = "well"
    when: Literal["index", "search"] = "index"
    words: tuple[str, ...] = ()
    last: bool = True


class Scripted:
    """Returns the last passages of the corpus, or the first, unless told to fail."""

    def __init__(self, how: str, when: str, docids: Sequence[str] = (), last: bool = True) -> None:
        self._last = last
        self._how = how
        self._when = when
        self._docids = list(docids)
        self._kept = Path()

    def keep_training_in(self, folder: Path) -> None:
        self._kept = folder

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        self._docids = list(corpus.docids)
        if self._how == "keep":
            self._go_on()
        progress.phase("scripted", 10, "steps")
        progress.advance(10)
        if self._how == "train":
            progress.record({"tokens": 100, "loss": 2.0})
            progress.record({"tokens": 250, "loss": 1.0})
        if self._how == "dev" and len(dev):
            raise ValueError("dev queries were handed over")
        if self._when == "index":
            fail(self._how)

    def _go_on(self) -> None:
        """Fail, but leave a file; be content where it is there already."""
        if not (self._kept / "half").exists():
            self._kept.mkdir(parents=True)
            (self._kept / "half").touch()
            raise ValueError("stopped half-way")

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        if self._when == "search":
            fail(self._how)
        docids = sorted(self._docids, reverse=self._last)[:k]
        if self._how == "unknown-docid":
            docids[0] = "nowhere"
        hits = [Hit(docid, float(-rank)) for rank, docid in enumerate(docids)]
        if self._how == "wrong-order":
            hits.reverse()
        return [hits for _ in queries][self._how == "too-few-lists" :]

    def with_settings(self, *, last: bool) -> Scripted:
        return Scripted(self._how, self._when, self._docids, last)

    def counters(self) -> Mapping[str, float]:
        return {"queries": 2, "model_calls": 10, "invalid_docids": 1, "dead_beams": 0, "mask_share": 0.25}

    def save(self, folder: Path) -> None:
        state = {"how": self._how, "when": self._when, "docids": self._docids, "last": self._last}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")

    def footprint(self) -> Footprint:
        return Footprint(100, 7)


def fail(how: str) -> None:
    actions = {
        "raise": _raise,
        "refuse": _refuse,
        "memory-error": _memory_error,
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "sleep": lambda: time.sleep(60),
        "eat": _eat,
        "eat-in-worker": _eat_in_worker,
        "exit": lambda: os._exit(0),
        "no-room": _no_room,
        "print": _print,
        "linger": lambda: threading.Thread(target=time.sleep, args=(60,)).start(),
    }
    if how in actions:
        actions[how]()


def _raise() -> None:
    raise ValueError("this was bound to happen")


def _refuse() -> None:
    raise DataError("longer passages", "short ones", "choose another dataset")


def _memory_error() -> None:
    raise MemoryError


def _no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _eat() -> None:
    held = [b"\1" * 2**20 for _ in range(400)]
    time.sleep(60)
    held.clear()


def _eat_in_worker() -> None:
    subprocess.run([sys.executable, "-c", "import time; b = b'1' * 400 * 2**20; time.sleep(60)"], check=True)


def _print() -> None:
    sys.stdout.write('{"phase": "forged"}\n')
    sys.stdout.write("not an event \udcff\n")
    os.write(1, b"\xff\xfe raw bytes\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a worker"], check=True)


def _load(folder: Path) -> Scripted:
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return Scripted(state["how"], state["when"], state["docids"], state["last"])


SYSTEM = System(
    name="scripted",
    family="sparse",
    summary="Fails as told",
    config=Settings,
    build=lambda settings, seed: Scripted(settings.how, settings.when, last=settings.last),
    load=_load,
    of_search=frozenset({"last"}),
)
NOT_A_SYSTEM = "text"
