"""How long work tells what it is doing: one small protocol, no display.

Retrievers call it; the runner carries it across the process border; the command line draws it.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a piece of long work has done so far."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start a phase ("train", "encode", …) of `total` units (None: unknown), ending the one before."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units of the current phase are done."""

    def record(self, row: dict[str, float | int | str]) -> None:
        """Keep one row of the training log, e.g. {"tokens": 4096, "loss": 2.1}; ends up in training.jsonl."""


class Silent:
    """A Progress that tells nobody; the default everywhere."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Ignore the phase."""

    def advance(self, amount: int = 1) -> None:
        """Ignore the progress."""

    def record(self, row: dict[str, float | int | str]) -> None:
        """Ignore the row."""


SILENT = Silent()
