"""A small experiment for tests of the runner: its dataset, its systems, and an observer that remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import datasets, runner
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import checksum
from harness.experiment import Experiment
from harness.progress import SILENT, Progress
from harness.records import Cell
from harness.runner import Summary
from harness.store import CellFolder
from harness.types import Corpus, Dataset, Passage, Query, Split

HERE = Path(__file__).parent
"""Where broken_systems.py is."""
SCRIPTED = "broken_systems:SYSTEM"
TEST_QUERIES = 12
LOAD = datasets.load


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Any:
    """A dataset of 20 passages that every name loads, and the scripted systems on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setattr(datasets, "load", load)
        yield


def load(name: str, settings: DatasetSettings, progress: Progress = SILENT) -> Dataset:
    progress.phase("read", unit="passages")
    corpus = Corpus.from_passages(
        Passage(f"d{i:02}", f"title {i}", f"text about word{i}", f"d{i:02}")
        for i in range(settings.max_passage_words or 20)
    )
    found = Dataset(name, corpus, split("train", 0, 5), split("dev", 0, 2), split("test", 5, 5 + TEST_QUERIES))
    return replace(found, card={"name": name, "checksum": checksum(found)})


def split(name: str, first: int, end: int) -> Split:
    rows = range(first, end)
    queries = tuple(Query(f"{name}{i}", f"word{i}") for i in rows)
    return Split(name, queries, {f"{name}{i}": {f"d{i:02}": 1} for i in rows})


def of(systems: Mapping[str, Mapping[str, Any] | str], **keys: Any) -> Experiment:
    """An experiment; a text in place of a system's table is what the scripted system does."""
    tables = {k: {"system": SCRIPTED, "how": v} if isinstance(v, str) else v for k, v in systems.items()}
    table = {"name": "trial", "latency": {"queries": 5}, "datasets": {"tiny": {}}, "systems": tables, **keys}
    return Experiment.from_table(table, "trial.toml")


class Seen:
    """An observer that remembers."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.cells: list[Cell] = []
        self.began: list[str] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.ended: list[tuple[str, str, bool]] = []
        self.scores: dict[str, dict[str, float] | None] = {}
        self._interrupt_at = interrupt_at

    def planned(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)

    def started(self, cell: Cell) -> None:
        self.began.append(cell.system)

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        self.events.setdefault(cell.system, []).append(dict(event))
        if cell.system == self._interrupt_at and event.get("phase") == "scripted":
            raise KeyboardInterrupt

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        self.ended.append((cell.system, status["state"], reused))
        self.scores[cell.system] = None if scores is None else dict(scores)


def go(
    systems: Mapping[str, Mapping[str, Any] | str], out: Path, fresh: bool = False, **keys: Any
) -> tuple[Summary, Seen]:
    seen = Seen()
    return runner.run(of(systems, **keys), out, seen, fresh=fresh, command=["harness", "run"]), seen


def cell(out: Path, system: str) -> CellFolder:
    return CellFolder(out / "tiny" / system / "0")


def status(out: Path, system: str) -> Any:
    return cell(out, system).status()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
