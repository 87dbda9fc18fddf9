"""Progress of a benchmark as plain lines: how far, how fast, how long still."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.lm.session import Clock
from harness.pace import Pace


class Lines:
    """A `Progress` that hands a line to `emit` whenever a unit of work is done.

    every_s: least seconds between two lines; what falls between them is not told.
    """

    def __init__(self, emit: Callable[[str], None], clock: Clock = time.monotonic, every_s: float = 0.0) -> None:
        self._emit, self._clock, self._every_s = emit, clock, every_s
        self._pace, self._said = Pace.start("", clock()), clock() - every_s

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Say what begins."""
        self._pace = Pace.start(name, self._clock(), total, unit)
        self._say(f"{name}: {self._pace.counted()}".removesuffix(": "), self._pace.since)

    def advance(self, amount: int = 1) -> None:
        """Say how far the phase is."""
        now = self._clock()
        self._pace = self._pace.after({"advance": amount}, now)
        self._say(f"{self._pace.phase}: {' · '.join(self._pace.parts(now))}", now)

    def record(self, row: dict[str, float | int | str]) -> None:
        """Ignore the row."""

    def _say(self, line: str, now: float) -> None:
        if now - self._said >= self._every_s:
            self._said = now
            self._emit(line)
