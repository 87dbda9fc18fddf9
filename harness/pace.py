"""How fast one phase of work goes and how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Pace:
    """Progress of one phase.

    total, done: in `unit`s; total is None where nobody knows it. since: clock reading at the start, in seconds.
    note: last value of the training loss, "" before there is one.
    """

    phase: str
    since: float
    total: int | None = None
    unit: str = ""
    done: int = 0
    note: str = ""

    @classmethod
    def start(cls, phase: str, now: float, total: int | None = None, unit: str = "") -> Self:
        """Begin a phase at the clock reading `now`."""
        return cls(phase, now, total, unit)

    def after(self, event: Mapping[str, Any], now: float) -> Pace:
        """Return the pace after an event of `harness.runner.Observer`: a phase, an advance or a record."""
        if "phase" in event:
            return Pace.start(str(event["phase"]), now, event.get("total"), str(event.get("unit") or ""))
        if "advance" in event:
            return replace(self, done=self.done + int(event["advance"]))
        loss = event.get("record", {}).get("loss")
        return replace(self, note=f"loss {loss:.3f}") if isinstance(loss, int | float) else self

    def rate(self, now: float) -> float | None:
        """Return units per second; None before the first unit is done."""
        elapsed_s = now - self.since
        return self.done / elapsed_s if self.done and elapsed_s > 0 else None

    def remaining_s(self, now: float) -> float | None:
        """Estimate the seconds left at the rate so far; None where nobody can tell."""
        rate = self.rate(now)
        return None if rate is None or self.total is None else max(self.total - self.done, 0) / rate

    def counted(self) -> str:
        """Say what there is to do: "300 queries"."""
        return f"{self.total:,} {self.unit}".rstrip() if self.total is not None else ""

    def parts(self, now: float) -> list[str]:
        """Say how far, how fast, how long still: ["120/300 queries", "45.2/s", "4 s left"]."""
        far = f"{self.done:,}" + (f"/{self.total:,}" if self.total is not None else "")
        said = [f"{far} {self.unit}".rstrip() if self.done or self.total is not None else duration(now - self.since)]
        rate, left_s = self.rate(now), self.remaining_s(now)
        if rate is not None:
            said.append(f"{number(rate)}/s" if rate >= 0.1 else f"{duration(1 / rate)} each")
        said += [] if left_s is None else [f"{duration(left_s)} left"]
        return [*said, self.note] if self.note else said


def number(value: float) -> str:
    """Write a positive quantity with three digits, from 1 on all significant; never in exponents.

    >>> [number(v) for v in (0.00012, 0.1234, 1.234, 12.34, 123.4, 12345.6)]
    ['<0.001', '0.123', '1.23', '12.3', '123', '12,346']
    """
    if 0 < value < 0.0005:
        return "<0.001"
    for below, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < below:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Write a time span for people.

    >>> [duration(s) for s in (0.4, 59.6, 200, 7500)]
    ['0.4 s', '1 min 00 s', '3 min 20 s', '2 h 05 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
