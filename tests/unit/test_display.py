"""The display against a recorded run: exact lines outside a terminal, a readable picture on one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.display import Display, LiveDisplay, PlainDisplay, failure, figures_of, for_stream
from harness.pace import Pace, duration, number
from harness.records import Cell

SCORES = {"Success@1": 0.5, "Success@5": 0.75, "RR@5": 0.6125, "nDCG@10": 0.66666}
DONE = {"state": "done", "reason": None, "phase": None, "wall_s": 21.0}
FAILED = {
    "state": "failed",
    "reason": "expected memory\n     got none\n      do buy some",
    "phase": "train",
    "wall_s": 3.0,
}


class Clock:
    """A clock that stands still until it is told the time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def stamp(self) -> str:
        return f"t+{self.now - 100:g}"


def cells(
    folder: Path, *systems: str, seeds: tuple[int, ...] = (0,), datasets: tuple[str, ...] = ("toy",)
) -> list[Cell]:
    return [
        Cell(d, system, system, "sparse", seed, folder / d / system / str(seed), "f")
        for d in datasets
        for system in systems
        for seed in seeds
    ]


def measured(cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    meter = {"index_s": 4.25, "latency_ms": {"p50": 1.236, "p95": 2, "p99": 3, "mean": 1.5, "n": 20, "k": 10}}
    (cell.folder / "meter.json").write_text(json.dumps(meter))


def play(display: Display, clock: Clock, plan: list[Cell]) -> Iterator[None]:
    """Replay a run of three cells: one that trains and is done, one reused, one that fails."""
    first, second, third = plan
    measured(first)
    measured(second)

    def told(after_s: float, cell: Cell, event: dict[str, Any]) -> None:
        clock.now += after_s
        display.event(cell, event)

    display.planned(plan)
    yield
    display.started(first)
    told(1, first, {"phase": "index", "total": 200, "unit": "passages"})
    told(5, first, {"advance": 20})
    yield
    told(5, first, {"advance": 20})
    told(0, first, {"record": {"tokens": 64, "loss": 2.5}})
    told(5, first, {"advance": 20})
    yield
    told(5, first, {"advance": 20})
    told(0, first, {"phase": "search", "total": None, "unit": ""})
    display.finished(first, DONE, SCORES, False)
    display.finished(second, DONE, SCORES, True)
    display.started(third)
    yield
    clock.now += 2
    display.finished(third, FAILED, None, False)


def test_lines_outside_a_terminal(tmp_path: Path) -> None:
    clock, lines = Clock(), list[str]()
    plan = cells(tmp_path, "dense", "bm25", "dsi")
    with PlainDisplay(lines.append, clock, clock.stamp) as display:
        list(play(display, clock, plan))
    figures = "Hits@1 0.500 · Hits@5 0.750 · MRR@5 0.613 · nDCG@10 0.667 · p50 ms 1.24 · index s 4.25"
    assert lines == [
        "t+0  plan: 3 cells = 1 dataset × 3 systems × 1 seed",
        "t+0  toy: dense, bm25, dsi",
        "t+0  [1/3] dense: starts",
        "t+1  [1/3] dense: index, 200 passages",
        "t+11  [1/3] dense: index 40/200 passages · 4.00/s · 40 s left",
        "t+21  [1/3] dense: index 80/200 passages · 4.00/s · 30 s left · loss 2.500",
        "t+21  [1/3] dense: search",
        f"t+21  [1/3] dense done in 21 s: {figures}",
        f"t+21  [2/3] bm25 reused: {figures}",
        "t+21  [3/3] dsi: starts",
        "t+23  [3/3] dsi failed: expected memory; got none; do buy some (in train)",
    ]


def test_several_datasets_and_seeds_are_told_apart(tmp_path: Path) -> None:
    clock, lines = Clock(), list[str]()
    plan = cells(tmp_path, "bm25", seeds=(0, 7), datasets=("a", "b"))
    with PlainDisplay(lines.append, clock, clock.stamp) as display:
        display.planned(plan)
        display.started(plan[3])
    assert lines == [
        "t+0  plan: 4 cells = 2 datasets × 1 system × 2 seeds",
        "t+0  a: bm25",
        "t+0  b: bm25",
        "t+0  [4/4] b bm25 seed 7: starts",
    ]


def drawn(display: LiveDisplay, width: int = 80) -> str:
    """Draw the moving part alone."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(display._now())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_terminal_shows_rows_for_good_and_the_moment_below(tmp_path: Path) -> None:
    clock = Clock()
    console = Console(record=True, force_terminal=True, width=80, file=io.StringIO(), color_system="standard")
    display = LiveDisplay(console, clock)
    assert "loading the data" in drawn(display)
    moments = []
    with display:
        for _ in play(display, clock, cells(tmp_path, "dense", "bm25", "dsi")):
            moments.append(drawn(display))
    assert "0 of 3 cells finished · 0.0 s so far" in moments[0]
    assert "[1/3] dense: index" in moments[1]
    assert "20/200 passages · 4.00/s · 45 s left" in moments[1]
    assert "60/200 passages · 4.00/s · 35 s left · loss 2.500" in moments[2]
    assert "2 of 3 cells finished · 21 s so far" in moments[3]
    assert "3 of 3 cells finished, 1 failed · 23 s so far" in drawn(display)
    assert all(len(line) <= 80 for moment in moments for line in moment.splitlines())
    printed = console.export_text(styles=True)
    for row in (
        "system   Hits@1   Hits@5    MRR@5  nDCG@10   p50 ms  index s",
        "dense     0.500    0.750    0.613    0.667     1.24     4.25\n",
        "bm25      0.500    0.750    0.613    0.667     1.24     4.25  reused\n",
    ):
        assert row in printed
    red = "\x1b[31m"
    assert f"{red}dsi     failed: expected memory; got none; do buy some (in train)" in printed
    assert printed.count(red) == 1


def test_where_the_output_goes_decides() -> None:
    assert isinstance(for_stream(print, Console(file=io.StringIO(), force_terminal=True)), LiveDisplay)
    assert isinstance(for_stream(print, Console(file=io.StringIO())), PlainDisplay)


def test_what_was_not_measured_is_a_dash_never_zero() -> None:
    assert figures_of({"RR@5": 0.0}, {}) == ["–", "–", "0.000", "–", "–", "–"]
    assert figures_of(None, {"index_s": 0.0412}) == ["–", "–", "–", "–", "–", "0.041"]


def test_a_failure_without_reason_or_phase_says_so() -> None:
    assert failure({"state": "failed", "reason": None, "phase": None}) == "no reason given"


@pytest.mark.parametrize(
    ("done", "total", "after_s", "parts"),
    [
        (0, None, 7.0, ["7.0 s"]),
        (0, 50, 7.0, ["0/50 things"]),
        (30, None, 10.0, ["30 things", "3.00/s"]),
        (1, 3, 60.0, ["1/3 things", "1 min 00 s each", "2 min 00 s left"]),
        (5, 4, 10.0, ["5/4 things", "0.500/s", "0.0 s left"]),
        (1234, 5000, 0.0, ["1,234/5,000 things"]),
    ],
)
def test_pace(done: int, total: int | None, after_s: float, parts: list[str]) -> None:
    pace = Pace.start("work", 40.0, total, "things").after({"advance": done}, 40.0)
    assert pace.parts(40.0 + after_s) == parts


def test_numbers_and_durations_read_well() -> None:
    values = (0.0, 0.00012, 0.1234, 1.234, 12.34, 123.4, 12345.6)
    assert [number(value) for value in values] == ["0.000", "<0.001", "0.123", "1.23", "12.3", "123", "12,346"]
    assert [duration(s) for s in (0.4, 9.97, 59.6, 200, 7500)] == [
        "0.4 s",
        "10 s",
        "1 min 00 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
