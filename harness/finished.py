"""Find the systems of a run that is over, and load them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from harness.errors import ConfigError, RunFolderError, UnknownNameError
from harness.jsonfile import check_keys
from harness.records import Cell
from harness.retriever import Retriever
from harness.store import OTHER_SETTINGS, RunFolder

if TYPE_CHECKING:
    from harness.plan import Spec
    from harness.types import Dataset, Query


_TOLD = ("dataset", "registered", "system", "settings", "split", "limit", "depth", "threads")
"""Of what the processes of a cell were told, what is needed to ask its system again."""


class Ability(NamedTuple):
    """What not every system can do.

    protocol: says whether one can. does, has: in words, "search with a beam" and "has a beam". whose: systems that can.
    """

    protocol: Any
    does: str
    has: str
    whose: str


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
    if cell.outside:
        return "is an outside run: only its hits are known, it cannot be asked"
    if status is None:
        return "has not run yet"
    if status["state"] != "done":
        return f"failed: {status['reason'] or 'no reason given'}"
    if status["fingerprint"] != cell.fingerprint:
        return OTHER_SETTINGS
    model = run.cell(cell).model
    return "" if model.is_dir() else f"cannot answer: {model} is missing"


def load(run: RunFolder, cell: Cell) -> Retriever:
    """Load the trained system of a cell, ready to search; `problem` says whether there is one."""
    from harness import plan

    return plan.resolve(cell.registered).load(run.cell(cell).model)


def others(dataset: Dataset, asked: Sequence[Query], count: int) -> tuple[str, ...]:
    """Choose queries to warm up on: ones that are not asked, as a system may keep what it read for a query it has seen.

    Where a dataset has too few others, some of those that are asked are taken too.
    """
    texts = dict.fromkeys(query.text for query in asked)
    splits = (dataset.test, dataset.dev, dataset.train)
    more = dict.fromkeys(query.text for split in splits for query in split.queries if query.text not in texts)
    return tuple([*more, *texts][:count])


def check_limit(limit: int | None) -> None:
    """Refuse a limit on the queries below 1: ConfigError."""
    if limit is not None and limit < 1:
        raise ConfigError("a limit of at least 1 query", str(limit), "raise the limit, or leave it out")


def able(run: RunFolder, cells: Sequence[Cell], ability: Ability, *, named: bool) -> list[Cell]:
    """Keep the cells that are done and have an ability; one that was `named` and is not or has not is refused.

    Raises:
        ConfigError: one that was named lacks the ability.
        RunFolderError: none is left, or one that was named is not done.
    """
    found, not_ready = [], []
    for cell in cells:
        why_not = problem(run, cell)
        if not why_not and _has(run, cell, ability):
            found.append(cell)
        elif why_not:
            not_ready.append(f"{cell.system} {why_not}")
        elif named:
            raise ConfigError(f"systems that {ability.does}", cell.system, "leave it out")
    if not found or (named and not_ready):
        systems = ", ".join(dict.fromkeys(c.system for c in cells))
        got = "; ".join(not_ready) or f"{systems}, none of which {ability.has}"
        fix = f"choose a run in which a {ability.whose} system is done"
        raise RunFolderError(f"trained systems that {ability.does} in {run.path}", got, fix)
    return found


def _has(run: RunFolder, cell: Cell, ability: Ability) -> bool:
    """Ask an empty system, so that none is loaded only to be asked."""
    from harness.cell import declared

    system, settings = declared(spec(run, cell))
    return isinstance(system.build(settings, cell.seed), ability.protocol)


def spec(run: RunFolder, cell: Cell) -> Spec:
    """Return what the processes of a cell were told.

    Raises:
        RunFolderError: spec.json is absent or damaged.
    """
    found = run.cell(cell).spec()
    check_keys(found, _TOLD, run.cell(cell).path / "spec.json")
    return cast("Spec", found)


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use as many threads as it did in the run; torch is imported here, before anything imports FAISS."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
