"""Show a running experiment: a live display on a terminal, lines with timestamps everywhere else.

Both are observers of `harness.runner.run` and context managers around it. Clocks are parameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from harness.pace import Pace, duration, number
from harness.printable import printable
from harness.records import Cell, Meter
from harness.store import CellFolder

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

EVERY_S = 10.0
"""Least time between two progress lines outside a terminal."""

SHOWN = {"Success@1": "Hits@1", "Success@5": "Hits@5", "RR@5": "MRR@5", "nDCG@10": "nDCG@10"}
"""Measure -> heading, for the measures that have a column."""

NOT_MEASURED = "–"
WIDTH = 8


class Display(Protocol):
    """An observer that is switched on and off."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; what was printed stays."""

    def planned(self, cells: Sequence[Cell]) -> None:
        """Show what will run."""

    def started(self, cell: Cell) -> None:
        """Show that a cell begins."""

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        """Show a phase, progress in it, or a row of the training log."""

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        """Show the scores of a cell, or why it failed."""


@dataclass(frozen=True)
class Plan:
    """The cells in the order they run."""

    cells: tuple[Cell, ...] = ()

    def label(self, cell: Cell) -> str:
        """Name a cell within its dataset: the system, and the seed where there are several."""
        several = len({c.seed for c in self.cells}) > 1
        return f"{cell.system} seed {cell.seed}" if several else cell.system

    def name(self, cell: Cell) -> str:
        """Name a cell within the run: as `label`, and the dataset where there are several."""
        several = len({c.dataset for c in self.cells}) > 1
        return f"{cell.dataset} {self.label(cell)}" if several else self.label(cell)

    def place(self, cell: Cell) -> str:
        """Say which cell of how many this is."""
        return f"[{self.cells.index(cell) + 1}/{len(self.cells)}]"

    def lines(self) -> list[str]:
        """Describe the whole plan, one line for its size and one for each dataset."""
        datasets, systems, seeds = (
            list(dict.fromkeys(getattr(c, key) for c in self.cells)) for key in ("dataset", "system", "seed")
        )
        size = f" = {_many(datasets, 'dataset')} × {_many(systems, 'system')} × {_many(seeds, 'seed')}"
        # An outside run may be there for some of the datasets alone.
        every = len(self.cells) == len(datasets) * len(systems) * len(seeds)
        first = f"plan: {_many(self.cells, 'cell')}" + size * every
        return [first, *(f"{dataset}: {', '.join(self._systems(dataset))}" for dataset in datasets)]

    def _systems(self, dataset: str) -> list[str]:
        return list(dict.fromkeys(c.system for c in self.cells if c.dataset == dataset))


def for_stream(emit: Callable[[str], None], console: Console) -> Display:
    """Choose the display: live where `console` is a terminal, else lines handed to `emit`."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(emit)


class PlainDisplay:
    """Lines with timestamps, for logs and pipes."""

    def __init__(
        self,
        emit: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._stamp = stamp
        self._plan = Plan()
        self._pace = Pace.start("", clock())
        self._said = clock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing; every line is out already."""

    def planned(self, cells: Sequence[Cell]) -> None:
        """Print the plan."""
        self._plan = Plan(tuple(cells))
        for line in self._plan.lines():
            self._line(line)

    def started(self, cell: Cell) -> None:
        """Print that the cell starts."""
        self._line(f"{self._plan.place(cell)} {self._plan.name(cell)}: starts")

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        """Print each phase when it starts, and its progress from time to time."""
        now = self._clock()
        self._pace = self._pace.after(event, now)
        if "phase" in event:
            total = "" if self._pace.total is None else f", {self._pace.counted()}"
            self._line(f"{self._plan.place(cell)} {self._plan.name(cell)}: {self._pace.phase}{total}")
        elif "advance" in event and now - self._said >= EVERY_S:
            progress = " · ".join(self._pace.parts(now))
            self._line(f"{self._plan.place(cell)} {self._plan.name(cell)}: {self._pace.phase} {progress}")

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        """Print the cell's figures."""
        head = f"{self._plan.place(cell)} {self._plan.name(cell)}"
        if status["state"] != "done":
            self._line(f"{head} failed: {failure(status)}")
            return
        meter = CellFolder(cell.folder).meter()
        figures = zip((*SHOWN.values(), "p50 ms", "index s"), figures_of(scores, meter), strict=True)
        how = "reused" if reused else f"done in {duration(status['wall_s'])}"
        self._line(f"{head} {how}: " + " · ".join(f"{heading} {figure}" for heading, figure in figures))

    def _line(self, text: str) -> None:
        self._said = self._clock()
        self._emit(f"{self._stamp()}  {text}")


class LiveDisplay:
    """Rows of scores that stay, and below them what is going on now."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = console
        self._clock = clock
        self._since = clock()
        self._plan = Plan()
        self._cell: Cell | None = None
        self._pace = Pace.start("starting", self._since)
        self._finished: list[bool] = []
        self._dataset = ""
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._now, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the moving part away; the rows stay."""
        self._live.stop()

    def planned(self, cells: Sequence[Cell]) -> None:
        """Print the plan and the headings of the rows."""
        self._plan = Plan(tuple(cells))
        for line in self._plan.lines():
            self._print(line)
        self._print(self._row("system", (*SHOWN.values(), "p50 ms", "index s")), "bold")

    def started(self, cell: Cell) -> None:
        """Turn to the next cell."""
        self._cell = cell
        self._pace = Pace.start("starting", self._clock())

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        """Take in progress; the next frame shows it."""
        self._pace = self._pace.after(event, self._clock())

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        """Print the cell's row."""
        done = status["state"] == "done"
        self._finished.append(done)
        self._cell = None
        if cell.dataset != self._dataset:
            self._dataset = cell.dataset
            self._print(cell.dataset, "dim")
        label = self._plan.label(cell)
        if done:
            row = self._row(label, figures_of(scores, CellFolder(cell.folder).meter()))
            self._print(row + ("  reused" if reused else ""))
        else:
            self._print(f"{label:<{self._label_width()}}  failed: {failure(status)}", "red")

    def _label_width(self) -> int:
        return max(len(label) for label in ("system", *map(self._plan.label, self._plan.cells)))

    def _row(self, label: str, figures: Sequence[str]) -> str:
        return f"{label:<{self._label_width()}}" + "".join(f" {figure:>{WIDTH}}" for figure in figures)

    def _print(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(printable(text), style=style))

    def _now(self) -> RenderableType:
        """Draw the moving part: the cell and its phase, the bar, the count of cells."""
        from rich.console import Group

        if not self._plan.cells:
            self._spinner.update(text="loading the data")
            return self._spinner
        now = self._clock()
        failed = self._finished.count(False)
        count = f"{len(self._finished)} of {_many(self._plan.cells, 'cell')} finished"
        count += f", {failed} failed" * bool(failed) + f" · {duration(now - self._since)} so far"
        if self._cell is None:
            return Group(self._spinner, self._short(count))
        where = f"{self._plan.place(self._cell)} {self._plan.name(self._cell)}: {self._pace.phase}"
        self._spinner.update(text=self._short(where))
        return Group(self._spinner, self._bar(now), self._short(count))

    def _bar(self, now: float) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._pace.total, completed=self._pace.done, width=24, pulse=self._pace.total is None)
        grid.add_row(bar, self._short(" · ".join(self._pace.parts(now))))
        return grid

    def _short(self, text: str) -> Text:
        from rich.text import Text

        return Text(printable(text), no_wrap=True, overflow="ellipsis")


def figures_of(scores: Mapping[str, float] | None, meter: Meter) -> list[str]:
    """Format the measures that have a column, the median latency in ms and the indexing time in s."""
    measured = scores or {}
    qualities = [f"{measured[name]:.3f}" if name in measured else NOT_MEASURED for name in SHOWN]
    latency = meter.get("latency_ms")
    times = [None if latency is None else latency["p50"], meter.get("index_s")]
    return qualities + [NOT_MEASURED if value is None else number(value) for value in times]


def failure(status: Mapping[str, Any]) -> str:
    """Say in one line why, and in which phase, a cell failed."""
    reason = "; ".join(line.strip() for line in str(status["reason"] or "no reason given").splitlines() if line.strip())
    return f"{reason} (in {status['phase']})" if status.get("phase") else reason


def _many(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" + "s" * (len(things) != 1)
