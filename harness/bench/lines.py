"""Progress of a benchmark as plain lines: how far, how fast, how long still."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.lm.session import Clock
from harness.pace import Pace


class Lines:
    """A `Progress` that hands a line to `emit` whenever a unit of work is done."""

    def __init__(self, emit: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._emit, self._clock = emit, clock
        self._pace = Pace.start("", clock())

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Say what begins."""
        self._pace = Pace.start(name, self._clock(), total, unit)
        self._emit(f"{name}: {self._pace.counted()}".removesuffix(": "))

    def advance(self, amount: int = 1) -> None:
        """Say how far the phase is."""
        now = self._clock()
        self._pace = self._pace.after({"advance": amount}, now)
        self._emit(f"{self._pace.phase}: {' · '.join(self._pace.parts(now))}")

    def record(self, row: dict[str, float | int | str]) -> None:
        """Ignore the row."""
