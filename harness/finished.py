"""Find the systems of a run that is over, and load them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import RunFolderError, UnknownNameError
from harness.records import Cell
from harness.retriever import Retriever
from harness.store import RunFolder


def datasets(run: RunFolder) -> list[str]:
    """List the datasets of a run in its own order.

    Raises:
        RunFolderError: no run, or a run without cells.
    """
    names = list(dict.fromkeys(cell.dataset for cell in run.cells()))
    if not names:
        raise RunFolderError(f"a run with systems in {run.path}", "a plan of no cells", "run the experiment again")
    return names


def pick(run: RunFolder, systems: Sequence[str] | None = None, dataset: str | None = None) -> list[Cell]:
    """Choose one cell for each dataset and system: its first seed that is done, else its first seed.

    Args:
        run: the run folder.
        systems: labels, in the order wanted; None: all, in the order of the run.
        dataset: None: all of the run.

    Raises:
        RunFolderError: no run, or a run without cells.
        UnknownNameError: the run has no such system or dataset.
    """
    known = datasets(run)
    if dataset is not None and dataset not in known:
        raise UnknownNameError.of("dataset of this run", dataset, known)
    cells = [cell for cell in run.cells() if dataset in (None, cell.dataset)]
    labels = list(dict.fromkeys(cell.system for cell in cells))
    for name in systems or ():
        if name not in labels:
            raise UnknownNameError.of("system of this run", name, labels)
    wanted = list(dict.fromkeys(systems or labels))
    groups = ([c for c in cells if (c.dataset, c.system) == (d, s)] for d in known for s in wanted)
    return [next((c for c in seeds if not problem(run, c)), seeds[0]) for seeds in groups if seeds]


def problem(run: RunFolder, cell: Cell) -> str:
    """Say why a cell cannot be searched; empty where it can."""
    status = run.status(cell)
    if status is None:
        return "has not run yet"
    if status["state"] != "done":
        return f"failed: {status['reason'] or 'no reason given'}"
    model = run.cell(cell).model
    return "" if model.is_dir() else f"cannot answer: {model} is missing"


def load(run: RunFolder, cell: Cell) -> Retriever:
    """Load the trained system of a cell, ready to search; `problem` says whether there is one."""
    from harness import plan

    return plan.resolve(cell.registered).load(run.cell(cell).model)
