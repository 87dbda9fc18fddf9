"""Progress of work on data, on standard error: one changing line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from harness.pace import Pace
from harness.progress import Progress

EVERY_S = 10.0
"""Least time between two lines outside a terminal; quick work prints none."""
_REFRESH_S = 0.2


class Paced:
    """A `Progress` that hands a line to `emit`, not more often than every `every_s` seconds."""

    def __init__(
        self, emit: Callable[[str], None], every_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._emit, self._every_s, self._clock = emit, every_s, clock
        self._pace = Pace.start("", clock())
        self._said = clock()

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin to count anew."""
        self._pace = Pace.start(name, self._clock(), total, unit)

    def advance(self, amount: int = 1) -> None:
        """Say how far the phase is, if it was not said a moment ago."""
        now = self._clock()
        self._pace = self._pace.after({"advance": amount}, now)
        if now - self._said >= self._every_s:
            self._said = now
            self._emit(f"{self._pace.phase}: {' · '.join(self._pace.parts(now))}")

    def record(self, row: dict[str, float | int | str]) -> None:
        """Ignore the row."""


@contextlib.contextmanager
def watched() -> Iterator[Progress]:
    """Give a Progress that is shown while the block runs."""
    import typer
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Paced(lambda line: typer.echo(line, err=True), EVERY_S)
        return
    with console.status("starting") as status:
        yield Paced(lambda line: status.update(Text(line)), _REFRESH_S)
