"""Run an experiment: every cell in processes of its own, resumable, and a failure costs its cell only.

A cell is made in a folder beside its own and moved into place when it has ended, done or failed. Whatever stops a
run therefore leaves the cells before it as they were; the next run keeps them and makes the others. A training that
was stopped, by whatever, leaves its checkpoint in a third folder, and the next run goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import __version__, launch, outside
from harness.child import Outcome, run_child, usable_cores
from harness.datasets import stored
from harness.environment import code_fingerprint, describe, machine
from harness.errors import DataError, HarnessError, RunFolderError, StorageError
from harness.experiment import Experiment
from harness.jsonfile import AGAIN
from harness.lock import locked
from harness.plan import Plan, Spec, evaluated, prepare, spec
from harness.printable import printable
from harness.progress import SILENT, Progress
from harness.reuse import earlier_index, take_over
from harness.scoring import Scores, measure
from harness.store import FORMAT, Cell, CellFolder, CellRecord, ExperimentRecord, RunFolder, Status, check_path
from harness.swap import drop_kept, made_beside, recover
from harness.types import Dataset

__all__ = ["Cell", "Observer", "Summary", "run"]


INDEX_KEPT = "Searched and measured anew with the index of before, whose time and memory are those of then:"


class Observer(Protocol):
    """Is told what happens, in this order: planned once, then for each cell started, events, finished.

    A reused cell is only finished. An event is {"phase": str, "total": int | None, "unit": str}, {"advance": int}
    or {"record": {...}}.
    """

    def planned(self, cells: Sequence[Cell]) -> None:
        """All cells, in the order they run."""

    def started(self, cell: Cell) -> None:
        """The processes of a cell are about to start."""

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        """A phase begins, goes on, or a row of the training log was written."""

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        """A cell ended; `scores` (measure -> mean over all queries) where it is done."""


@dataclass(frozen=True)
class Summary:
    """How a run ended. `done`: finished in this run; `failed`; `reused`: finished by an earlier one."""

    folder: Path
    done: int
    failed: int
    reused: int


def prepared(experiment: Experiment, out: Path, progress: Progress) -> Plan:
    """Check an experiment and read its datasets, which is minutes of work where they are large; writes nothing.

    Args:
        experiment: what is to be run.
        out: its run folder.
        progress: told how far the reading of each dataset is.

    Raises:
        ConfigError, DataError, DependencyError: the experiment cannot be run.
        RunFolderError: the folder is another experiment's, of another format, or its path is no UTF-8.
    """
    launch.check(os.environ)
    _check_owner(out, experiment.name)
    return prepare(experiment, out, progress)


def run(
    experiment: Experiment,
    out: Path,
    observer: Observer,
    *,
    fresh: bool = False,
    command: Sequence[str] = (),
    plan: Plan | None = None,
) -> Summary:
    """Run every cell of an experiment that is not done yet, and write what came of it into the folder `out`.

    Everything is checked before anything is written. Interrupting it (KeyboardInterrupt) stops the running cell.

    Args:
        experiment: what to run.
        out: the run folder, new or of an earlier run of an experiment of the same name.
        observer: is told what happens.
        fresh: run the cells again that are done.
        command: what the user typed, for the record.
        plan: what `prepared` made of the experiment and the folder; None: it is done here, silently. Its corpora are
            let go once they are stored, unless the caller keeps the plan.

    Raises:
        ConfigError, DataError, DependencyError: the experiment cannot be run; nothing was written.
        RunFolderError: the folder is another experiment's, of another format, or being written by another run.
        StorageError: the disk is full or may not be written; finished cells are kept.
    """
    running = _Running(plan or prepared(experiment, out, SILENT), RunFolder(out), observer, fresh, command)
    del plan
    with locked(out):
        _check_owner(out, experiment.name)
        return running.run()


class _Running:
    """One run under way."""

    def __init__(self, plan: Plan, folder: RunFolder, observer: Observer, fresh: bool, command: Sequence[str]) -> None:
        self._plan = plan
        self._folder = folder
        self._observer = observer
        self._fresh = fresh
        # A path may hold bytes that are no UTF-8, and no JSON file can.
        self._command = [printable(argument) for argument in command]
        self._code = code_fingerprint()
        self._environment = describe()
        self._threads = usable_cores()
        experiment = plan.experiment
        self._splits = {n: evaluated(d, experiment.split, experiment.limit) for n, d in plan.datasets.items()}
        self._scores = Scores(plan.datasets, self._splits, experiment.primary)
        self._created = _now()
        self._finished: dict[Cell, Status] = {}

    def run(self) -> Summary:
        """Write the plan, then reuse or make each cell."""
        self._find_finished()
        self._write_experiment()
        # At once: whoever reads the folder of a run that was stopped while it stored a corpus looks for them.
        self._write_figures()
        # From here on the corpora are read from disk, and those in memory can go.
        self._plan = replace(self._plan, datasets={name: self._store(name) for name in self._plan.datasets})
        self._observer.planned(self._plan.cells)
        earlier = {} if self._fresh else dict(self._finished)
        states = [self._reuse(cell) if cell in earlier else self._make(cell) for cell in self._plan.cells]
        self._write_experiment()
        return Summary(self._folder.path, states.count("done"), states.count("failed"), states.count("reused"))

    def _find_finished(self) -> None:
        """Take in the planned cells that are done with the same fingerprint."""
        for cell in self._plan.cells:
            recover(cell.folder)
            # A cell whose files are damaged or incomplete is made again.
            with contextlib.suppress(RunFolderError):
                status = CellFolder(cell.folder).status()
                if status is None or status["state"] != "done" or status["fingerprint"] != cell.fingerprint:
                    continue
                # A set without queries has nothing to write, not even the names of the measures.
                measures: dict[str, dict[str, float]] = {name: {} for name in self._plan.experiment.measures}
                values = measures | CellFolder(cell.folder).per_query()
                qids = {query.qid for query in self._splits[cell.dataset].queries}
                if values.keys() == measures.keys() and all(by_qid.keys() == qids for by_qid in values.values()):
                    self._scores.add(cell, values)
                    self._finished[cell] = status

    def _store(self, name: str) -> Dataset:
        """Write a dataset where the cells find it, unless it is there, and open it from there."""
        dataset, folder = self._plan.datasets[name], self._folder.data_folder(name)
        with contextlib.suppress(RunFolderError):
            there = stored.open_folder(folder)
            if there.card.get("checksum") == dataset.card["checksum"]:
                return there
        with made_beside(folder) as part:
            stored.save(dataset, part)
        return stored.open_folder(folder)

    def _reuse(self, cell: Cell) -> str:
        self._observer.finished(cell, self._finished[cell], self._scores.means(cell), True)
        return "reused"

    def _make(self, cell: Cell) -> str:
        self._observer.started(cell)
        told = spec(self._plan, cell, self._threads)
        # Another training, or one that is to be run afresh, is nothing to go on from.
        drop_kept(cell.folder, but="" if self._fresh else Path(told["training"]).name)
        with made_beside(cell.folder) as part:
            status = self._execute(cell, CellFolder(part), told)
        if status["state"] == "done":
            drop_kept(cell.folder)
            self._scores.add(cell, CellFolder(cell.folder).per_query())
            self._finished[cell] = status
        else:
            self._scores.drop(cell)
            self._finished.pop(cell, None)
        self._write_figures()
        self._observer.finished(cell, status, self._scores.means(cell), False)
        return status["state"]

    def _execute(self, cell: Cell, folder: CellFolder, told: Spec) -> Status:
        """Find the hits of a cell, measure them and write how it ended."""
        folder.write_spec(told)
        earlier = CellFolder(cell.folder)
        ran_on = machine(self._environment)
        indexed = None if self._fresh else earlier_index(earlier, told, self._code, ran_on)
        tasks = ["index", "search"]
        if indexed is not None:
            self._observer.event(cell, {"phase": "take over the index of before", "total": None, "unit": ""})
            tasks = ["retune", "search"] if take_over(earlier, folder, told) else ["search"]
        started, begin = _now(), time.monotonic()
        outcome = self._taken_in(cell, folder) if cell.outside else self._run_processes(cell, folder, tasks)
        if outcome.reason is None:
            outcome = self._measured(cell, folder, outcome)
        status = Status(
            format=FORMAT,
            state="done" if outcome.reason is None else "failed",
            reason=outcome.reason,
            phase=outcome.phase,
            fingerprint=cell.fingerprint,
            code=self._code,
            started=started,
            ended=_now(),
            wall_s=time.monotonic() - begin,
            exit_code=outcome.exit_code,
            machine=ran_on,
        )
        if indexed is not None:
            status["indexed"] = indexed
        folder.write_status(status)
        return status

    def _run_processes(self, cell: Cell, folder: CellFolder, tasks: Sequence[str]) -> Outcome:
        """Let one process do each task, as a rule index and then search."""
        limits = self._plan.experiment.limits
        begin = time.monotonic()
        for task in tasks:
            outcome = run_child(
                task,
                folder.path,
                limits,
                deadline=begin + limits.time_s,
                threads=self._threads,
                tell=lambda event: self._observer.event(cell, event),
            )
            if outcome.reason is not None:
                break
            if task == "retune":
                # Once the process that read it has ended: some file systems do not let go of files before.
                shutil.rmtree(folder.earlier_model, ignore_errors=True)
        return outcome

    def _taken_in(self, cell: Cell, folder: CellFolder) -> Outcome:
        """Write the hits of an outside run as those of a system are written; nothing else of it is known."""
        planned = self._plan.outside[cell.dataset, cell.system]
        split, depth = self._splits[cell.dataset], self._plan.experiment.depth
        try:
            found, run = outside.read(planned.source, self._plan.datasets[cell.dataset], split, depth)
            if found.sha256 != planned.sha256:
                got = "another content than when this run began"
                raise DataError("a file that does not change", got, AGAIN, file=planned.source.file)
        except DataError as error:
            return Outcome(None, str(error), "read")
        folder.write_run(run, cell.system)
        folder.write_meter({"hits": sum(map(len, run.values()))})
        return Outcome(None, None, None)

    def _measured(self, cell: Cell, folder: CellFolder, outcome: Outcome) -> Outcome:
        """Measure the hits of a cell; what goes wrong costs this cell only, whose model and hits stay in its folder."""
        try:
            measure(folder, self._splits[cell.dataset], self._plan.experiment.measures)
        except StorageError:  # the cells after it could not be written either
            raise
        except HarnessError as error:
            return replace(outcome, reason=str(error), phase="measure")
        except Exception as error:
            return replace(outcome, reason=f"{type(error).__name__}: {error}".removesuffix(": "), phase="measure")
        return outcome

    def _write_figures(self) -> None:
        self._folder.write_results(self._scores.results(self._plan.cells))
        self._folder.write_significance(self._scores.significance(self._plan.cells))

    def _write_experiment(self) -> None:
        experiment = self._plan.experiment
        with contextlib.suppress(RunFolderError):
            self._created = self._folder.experiment()["created"]
        self._folder.write_experiment(
            ExperimentRecord(
                format=FORMAT,
                name=experiment.name,
                title=experiment.title,
                description=experiment.description,
                fingerprint=experiment.fingerprint(),
                created=self._created,
                harness_version=__version__,
                command=self._command,
                config=experiment.table(),
                split=experiment.split,
                depth=experiment.depth,
                measures=list(experiment.measures),
                primary=experiment.primary,
                datasets={name: dict(dataset.card) for name, dataset in self._plan.datasets.items()},
                environment=self._environment,
                seeds=list(experiment.seeds),
                cells=[self._record(cell) for cell in self._plan.cells],
                notes=[*self._plan.notes(), *self._notes_on_sources()],
            )
        )

    def _record(self, cell: Cell) -> CellRecord:
        return CellRecord(
            dataset=cell.dataset,
            system=cell.system,
            registered=cell.registered,
            family=cell.family,
            seed=cell.seed,
            folder=cell.folder.relative_to(self._folder.path).as_posix(),
            fingerprint=cell.fingerprint,
        )

    def _notes_on_sources(self) -> list[str]:
        finished = self._finished.items()
        others = [cell for cell, status in finished if status["code"] != self._code]
        kept = [cell for cell, status in finished if "indexed" in status]
        notes = [f"Reused from an earlier run, made by other sources than the rest: {_names(others)}."] * bool(others)
        return notes + [f"{INDEX_KEPT} {_names(kept)}."] * bool(kept)


def _names(cells: Sequence[Cell]) -> str:
    return ", ".join(f"{cell.system} on {cell.dataset} (seed {cell.seed})" for cell in cells)


def _check_owner(out: Path, name: str) -> None:
    """Refuse a folder that is not a run folder of this experiment and this format, unless it is new or empty."""
    fix = "choose another output folder"
    check_path(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise RunFolderError(f"a folder at {out}", "a file", fix)
    if (out / "experiment.json").exists():
        owner = RunFolder(out).experiment()["name"]
        if owner != name:
            raise RunFolderError(f"a run folder of experiment {name!r} at {out}", f"one of {owner!r}", fix)
        return
    # Somebody may have deleted a damaged experiment.json: then the stored datasets show what the folder is.
    if any(not e.name.startswith(".") for e in out.iterdir()) and not any(out.glob("*/data/card.json")):
        raise RunFolderError(f"a run folder, or a new or empty one, at {out}", "a folder with other things in it", fix)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
