"""The child's end of the pipe: events as JSON lines to the parent, training rows to a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

SEND_S = 0.1
"""Least time between two messages about progress; more would cost the measured work time."""


def event_of(line: bytes) -> dict[str, Any] | None:
    """Read one line of the pipe; None for what is no event, such as the notice of a library."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


class Reporter:
    """A Progress whose other end is the parent process."""

    def __init__(
        self, events: IO[str], training: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write events to `events` and rows of the training log to the file `training` (None: nowhere)."""
        self._events = events
        self._training = training
        self._clock = clock
        self._advanced = 0
        self._sent = clock()
        self.last_row: dict[str, float | int | str] = {}

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Tell that a phase begins."""
        self.send({"phase": name, "total": total, "unit": unit})

    def advance(self, amount: int = 1) -> None:
        """Tell that more units are done; several calls are put into one message."""
        self._advanced += amount
        if self._clock() - self._sent >= SEND_S:
            self._send_progress()

    def record(self, row: dict[str, float | int | str]) -> None:
        """Append a row to the training log and tell it."""
        self.last_row = dict(row)
        if self._training is not None:
            # Line by line, so that a run that is stopped keeps what it knew.
            with self._training.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        self.send({"record": self.last_row})

    def send(self, event: dict[str, Any]) -> None:
        """Send one event, after the progress made before it."""
        if self._advanced:
            self._send_progress()
        self._write(event)

    def _send_progress(self) -> None:
        self._write({"advance": self._advanced})
        self._advanced = 0
        self._sent = self._clock()

    def _write(self, event: dict[str, Any]) -> None:
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()
