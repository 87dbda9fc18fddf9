"""Read and write the run folder, the only interface between measuring and reporting.

    runs/<experiment>/
      experiment.json · results.json · significance.json · answer_significance.json (where answers were measured)
      <slug>/data/                the dataset, as harness.datasets.stored writes it
      <slug>/<system>/<seed>/     spec.json · run.trec.gz · per_query.parquet · meter.json · training.jsonl ·
                                  model/ · cell.log · status.json · beams.json · answers.json · answers.jsonl
                                  (the last three where somebody measured them)
      <slug>/<system>/<seed>.training/    what a stopped training goes on from; gone once the cell is done
      report/

Every file is written whole or not at all. `RunFolder` names the folder, `CellFolder` one cell in it.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.atomic import replacing
from harness.errors import RunFolderError
from harness.jsonfile import (
    AGAIN,
    check_format,
    check_keys,
    read_lines,
    read_object,
    read_rows,
    require,
    write_json,
    write_lines,
)
from harness.records import (
    FORMAT,
    AnswerRow,
    AnswersRecord,
    BeamRow,
    Cell,
    CellKey,
    CellRecord,
    Comparison,
    Counters,
    ExperimentRecord,
    LatencyMs,
    Meter,
    PeakBytes,
    Result,
    Status,
    sampled,
)

if TYPE_CHECKING:
    from harness.types import Run

__all__ = [
    "FORMAT",
    "OTHER_SETTINGS",
    "AnswerRow",
    "AnswersRecord",
    "BeamRow",
    "Cell",
    "CellFolder",
    "CellKey",
    "CellRecord",
    "Comparison",
    "Counters",
    "ExperimentRecord",
    "LatencyMs",
    "Meter",
    "PeakBytes",
    "Result",
    "RunFolder",
    "Status",
    "check_path",
    "complete",
    "sampled",
    "slug",
]

OTHER_SETTINGS = "has only the result of other settings"
"""What is wrong with a cell that was done before its experiment changed, and not again since."""
_NEEDED = frozenset({"state", "reason", "fingerprint", "code"})
"""Of a status: without these nothing can be said of a cell."""


def slug(name: str) -> str:
    """Turn a name into one that is safe as a folder.

    >>> slug("vital-articles/1k")
    'vital-articles-1k'
    """
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return text if text.strip(".") else "-"


def check_path(folder: Path) -> None:
    """Refuse a path with bytes that are no UTF-8, which Arrow can neither write nor read: RunFolderError."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:
        fix = "choose another folder, or rename this one"
        raise RunFolderError("the path of a run folder in UTF-8", str(folder), fix) from error


@contextlib.contextmanager
def complete(folder: Path) -> Iterator[None]:
    """Turn what damaged files of a run lead to, such as a row without its keys, into a RunFolderError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"complete files of a run in {folder}", f"{type(error).__name__}: {error}", "repeat the run with --fresh"
        ) from error


@dataclass(frozen=True)
class CellFolder:
    """The files of one cell. Readers of files every cell may lack (training, meter, log) give an empty value."""

    path: Path

    @property
    def model(self) -> Path:
        """Folder for `Retriever.save`."""
        return self.path / "model"

    @property
    def earlier_model(self) -> Path:
        """Folder of the model that is taken over from an earlier cell, until it is saved again in `model`."""
        return self.path / "earlier-model"

    @property
    def log(self) -> Path:
        """File with what the child processes printed."""
        return self.path / "cell.log"

    def spec(self) -> dict[str, Any]:
        """Read what the child process was told."""
        return read_object(self.path / "spec.json")

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """Write what the child process is told."""
        write_json(self.path / "spec.json", spec, "the task of a cell")

    def status(self) -> Status | None:
        """Read how the cell ended; None while it has not ended.

        Raises:
            RunFolderError: another format, or a damaged file.
        """
        path = self.path / "status.json"
        if not path.exists():
            return None
        status = read_object(path)
        check_format(status, path)
        check_keys(status, _NEEDED, path)
        return cast(Status, status)

    def write_status(self, status: Status) -> None:
        """Write how the cell ended."""
        write_json(self.path / "status.json", status, "the status of a cell")

    def meter(self) -> Meter:
        """Read time, memory and size; empty when nothing was measured."""
        path = self.path / "meter.json"
        return cast(Meter, read_object(path)) if path.exists() else {}

    def write_meter(self, meter: Meter) -> None:
        """Write time, memory and size; figures that are not finite are left out."""
        write_json(self.path / "meter.json", meter, "the measurements of a cell")

    def training(self) -> list[dict[str, float | int | str]]:
        """Read the training log, oldest row first; empty for a system that does not train.

        A last line without its end is left out: the process was stopped while it wrote.
        """
        path = self.path / "training.jsonl"
        return read_lines(path) if path.exists() else []

    def beams(self) -> list[BeamRow]:
        """Read how the system does with other beam sizes, narrowest first; empty when nobody measured it."""
        path = self.path / "beams.json"
        return cast(list[BeamRow], read_rows(path)) if path.exists() else []

    def write_beams(self, rows: Sequence[BeamRow]) -> None:
        """Write how the system does with other beam sizes, in place of what was measured before."""
        write_json(self.path / "beams.json", rows, "the beam sizes of a cell")

    def answers(self) -> AnswersRecord | None:
        """Read how well the system answers; None where nobody measured it."""
        path = self.path / "answers.json"
        return cast(AnswersRecord, read_object(path)) if path.exists() else None

    def answer_rows(self) -> list[AnswerRow]:
        """Read the answer to each query; empty where nobody measured it."""
        path = self.path / "answers.jsonl"
        return read_lines(path) if path.exists() else []

    def write_answers(self, record: AnswersRecord, rows: Sequence[AnswerRow]) -> None:
        """Write how well the system answers, and each answer, in place of what was measured before."""
        write_lines(self.path / "answers.jsonl", rows, "the answers of a cell")
        write_json(self.path / "answers.json", record, "how well a cell answers")

    def per_query(self) -> dict[str, dict[str, float]]:
        """Read measure -> qid -> value.

        Raises:
            RunFolderError: absent (the cell has not been measured) or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / "per_query.parquet"
        require(path)
        values: dict[str, dict[str, float]] = {}
        try:
            columns = pq.read_table(path, columns=["qid", "measure", "value"]).to_pydict()
        except (pa.ArrowException, OSError) as error:
            raise RunFolderError(f"a Parquet file in {path}", str(error), f"delete it and {AGAIN}") from error
        for qid, measure, value in zip(columns["qid"], columns["measure"], columns["value"], strict=True):
            values.setdefault(measure, {})[qid] = value
        return values

    def write_per_query(self, values: Mapping[str, Mapping[str, float]]) -> None:
        """Write measure -> qid -> value in long form, in the order given."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [(qid, measure, value) for measure, by_qid in values.items() for qid, value in by_qid.items()]
        schema = pa.schema([("qid", pa.string()), ("measure", pa.string()), ("value", pa.float64())])
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        with replacing(self.path / "per_query.parquet", "the measures of each query") as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def run(self) -> Run:
        """Read the hits of every query that has any.

        Raises:
            RunFolderError: absent (the cell has not been searched).
            DataError: damaged; names the file and line.
        """
        from harness.runfile import read_trec

        path = self.path / "run.trec.gz"
        require(path)
        return read_trec(path)

    def first_hits(self) -> dict[str, str]:
        """Read qid -> docid of the best hit, of every query that has any; fails as `run` does."""
        from harness.runfile import read_first

        path = self.path / "run.trec.gz"
        require(path)
        return read_first(path)

    def write_run(self, run: Run, tag: str) -> None:
        """Write the hits as a TREC run called `tag`."""
        from harness.runfile import write_trec

        write_trec(self.path / "run.trec.gz", run, tag)

    def log_tail(self, n: int = 20) -> str:
        """Return the last `n` lines the child processes printed; empty when there is no log."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=n))


@dataclass(frozen=True)
class RunFolder:
    """One experiment's folder. A `cell` argument is anything with `dataset`, `system` and `seed`."""

    path: Path

    def cell_folder(self, dataset: str, system: str, seed: int) -> Path:
        """Say where a cell's files are."""
        return self.path / slug(dataset) / slug(system) / str(seed)

    def data_folder(self, dataset: str) -> Path:
        """Say where the stored dataset is."""
        return self.path / slug(dataset) / "data"

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self.path / "report"

    def cell(self, cell: CellKey) -> CellFolder:
        """Open the folder of one cell."""
        return CellFolder(self.cell_folder(cell.dataset, cell.system, cell.seed))

    def experiment(self) -> ExperimentRecord:
        """Read the resolved experiment.

        Raises:
            RunFolderError: no run folder here, another format, a damaged file, or a path that is no UTF-8.
        """
        check_path(self.path)
        path = self.path / "experiment.json"
        if not path.is_file():
            raise RunFolderError(
                f"a run folder of format {FORMAT} at {self.path}",
                "no experiment.json in it" if self.path.is_dir() else "no such folder",
                "name the folder that `harness run` wrote, usually runs/<experiment>",
            )
        record = read_object(path)
        check_format(record, path)
        check_keys(record, ExperimentRecord.__required_keys__, path)
        return cast(ExperimentRecord, record)

    def write_experiment(self, record: ExperimentRecord) -> None:
        """Write the resolved experiment."""
        write_json(self.path / "experiment.json", record, "the experiment")

    def cells(self) -> list[Cell]:
        """List the planned cells in the order they run; their folders begin with `path`.

        Raises:
            RunFolderError: as `experiment`, or a cell that lacks something.
        """
        with complete(self.path):
            return [
                Cell(
                    dataset=entry["dataset"],
                    system=entry["system"],
                    registered=entry["registered"],
                    family=entry["family"],
                    seed=entry["seed"],
                    folder=self.cell_folder(entry["dataset"], entry["system"], entry["seed"]),
                    fingerprint=entry["fingerprint"],
                )
                for entry in self.experiment()["cells"]
            ]

    def results(self) -> list[Result]:
        """Read every figure; empty lists are valid, an absent file is a RunFolderError."""
        return cast(list[Result], read_rows(self.path / "results.json"))

    def write_results(self, rows: Sequence[Result]) -> None:
        """Write every figure."""
        write_json(self.path / "results.json", rows, "the results")

    def significance(self) -> list[Comparison]:
        """Read the comparisons with the best baseline; an absent file is a RunFolderError."""
        return cast(list[Comparison], read_rows(self.path / "significance.json"))

    def write_significance(self, rows: Sequence[Comparison]) -> None:
        """Write the comparisons with the best baseline."""
        write_json(self.path / "significance.json", rows, "the significance tests")

    def answer_significance(self) -> list[Comparison]:
        """Read how the answers of systems compare; empty where nobody measured it."""
        path = self.path / "answer_significance.json"
        return cast(list[Comparison], read_rows(path)) if path.exists() else []

    def write_answer_significance(self, rows: Sequence[Comparison]) -> None:
        """Write how the answers of systems compare."""
        write_json(self.path / "answer_significance.json", rows, "the significance tests of answers")

    def status(self, cell: CellKey) -> Status | None:
        """Read how a cell ended; None while it has not ended."""
        return self.cell(cell).status()

    def problem(self, cell: Cell) -> str:
        """Say why a cell has no result as it is planned; empty where it has one."""
        status = self.status(cell)
        if status is None:
            return "never finished"
        if status["state"] != "done":
            phase = f" during {status['phase']}" if status.get("phase") else ""
            return f"failed{phase}: {status['reason'] or 'no reason was recorded'}"
        return "" if status["fingerprint"] == cell.fingerprint else OTHER_SETTINGS

    def meter(self, cell: CellKey) -> Meter:
        """Read a cell's time, memory and size; empty when nothing was measured."""
        return self.cell(cell).meter()

    def training(self, cell: CellKey) -> list[dict[str, float | int | str]]:
        """Read a cell's training log; empty for a system that does not train."""
        return self.cell(cell).training()

    def per_query(self, cell: CellKey) -> dict[str, dict[str, float]]:
        """Read a cell's measure -> qid -> value; RunFolderError when absent."""
        return self.cell(cell).per_query()

    def run(self, cell: CellKey) -> Run:
        """Read a cell's hits; RunFolderError when absent."""
        return self.cell(cell).run()

    def log_tail(self, cell: CellKey, n: int = 20) -> str:
        """Return the last `n` lines of a cell's log."""
        return self.cell(cell).log_tail(n)
