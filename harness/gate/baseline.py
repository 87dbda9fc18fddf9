"""The baseline: a JSON file to read and review in a commit, and a Parquet file beside it with the value of each query.

    gate.json      thresholds · checksum of each dataset · for each system its means, ratios, sizes, fingerprints
    gate.parquet   dataset, system, qid, and a column of 32-bit floats for each measure

Both are written or neither, and the JSON file holds the Parquet file's SHA-256, so that two of different commits are
not taken for one baseline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.atomic import replacing
from harness.errors import DataError
from harness.gate.measured import Key, Values
from harness.gate.thresholds import Thresholds
from harness.jsonfile import plain
from harness.validation import validated

ABOUT = "Written by `harness gate RUN --baseline FILE --update`; docs/GATE.md explains it. Thresholds may be edited."
KEYS = ("dataset", "system", "qid")
_DECIMALS = 6
_DIGITS = 4
"""Of a ratio."""

_CLOSE = 1e-5
"""A mean in the JSON file and that of the 32-bit floats differ by less."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KeptSystem(_Table):
    """One system on one dataset. fingerprints: seed -> what decides its figures. ratios: to the reference system."""

    fingerprints: dict[int, str]
    queries: int
    measures: dict[str, float]
    ratios: dict[str, float]
    sizes_bytes: dict[str, int]


class KeptDataset(_Table):
    """One dataset and the systems that ran on it."""

    checksum: str
    systems: dict[str, KeptSystem]


class Figures(_Table):
    """The JSON file."""

    about: str
    format: Literal[1]
    experiment: str
    harness_version: str
    split: str
    depth: int
    per_query_sha256: str
    thresholds: Thresholds
    datasets: dict[str, KeptDataset]


@dataclass(frozen=True)
class Baseline:
    """Both files. values: (dataset, system) -> measure -> qid -> value, exact to seven digits."""

    figures: Figures
    values: Mapping[Key, Values]

    def cells(self) -> dict[Key, KeptSystem]:
        """Return every system on every dataset, in the order of the file."""
        datasets = self.figures.datasets.items()
        return {(dataset, label): kept for dataset, found in datasets for label, kept in found.systems.items()}


def sizes(baseline: Baseline) -> list[int]:
    """Say on how many queries each measure of each system is compared."""
    return [len(by_qid) for values in baseline.values.values() for by_qid in values.values()]


def parquet_of(file: Path) -> Path:
    """Say where the values of each query stand."""
    return file.with_suffix(".parquet")


def read(file: Path) -> Baseline:
    """Read a baseline.

    Raises:
        DataError: one of the two files is absent or damaged, or they do not belong together.
        ConfigError: the JSON file lacks something, or holds what it may not hold.
    """
    figures = figures_of(file)
    beside = parquet_of(file)
    content = _bytes(beside)
    if hashlib.sha256(content).hexdigest() != figures.per_query_sha256:
        raise DataError(
            f"the file that {file.name} was written with", "another one", f"{_RESTORE} both files", file=beside
        )
    found = Baseline(figures, _values(content, beside))
    _check_means(found, file)
    return found


def figures_of(file: Path) -> Figures:
    """Read the JSON file alone; raises as `read` does."""
    try:
        table = json.loads(_bytes(file))
    except ValueError as error:
        raise DataError("a baseline in JSON", str(error), f"{_RESTORE} the file", file=file) from error
    if not isinstance(table, dict):
        raise DataError("a baseline, a JSON object", type(table).__name__, f"{_RESTORE} the file", file=file)
    return validated(Figures, table, str(file))


def write(file: Path, table: Mapping[str, Any], values: Mapping[Key, Values]) -> None:
    """Write both files, or neither.

    Args:
        file: the JSON file.
        table: as `Figures`, without `about`, `format` and `per_query_sha256`.
        values: (dataset, system) -> measure -> qid -> value.

    Raises:
        StorageError: the file system refused.
    """
    import pyarrow.parquet as pq

    what = "the baseline of a gate"
    with replacing(parquet_of(file), what) as beside, replacing(file, what) as main:
        pq.write_table(_table(values), beside, compression="zstd", use_dictionary=True)
        sha256 = hashlib.sha256(beside.read_bytes()).hexdigest()
        whole = Figures(about=ABOUT, format=1, per_query_sha256=sha256, **table)
        main.write_text(_text(whole), encoding="utf-8", newline="\n")


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Round figures to as many digits as mean something: a diff of two baselines then shows changes, not noise."""
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in sorted(values.items())}


def means(values: Values) -> dict[str, float]:
    """Return the mean of each measure, rounded."""
    return {measure: round(fmean(by_qid.values()), _DECIMALS) for measure, by_qid in sorted(values.items())}


_RESTORE = "write it again with --update, or restore from version control"


def _text(figures: Figures) -> str:
    return json.dumps(plain(figures.model_dump()), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fix = "correct the path, or write one: harness gate RUN --baseline FILE --update"
        raise DataError("the baseline of a gate", error.strerror or str(error), fix, file=path) from error


def _check_means(baseline: Baseline, file: Path) -> None:
    """Refuse a mean that somebody edited, and which would otherwise look like it counted; so too a system left out."""
    for dataset, system in baseline.values.keys() - baseline.cells().keys():
        place = f"{system} on {dataset}, of which the values of each query are there"
        raise DataError(place, "nothing of it", f"{_RESTORE} both files", file=file)
    for key, kept in baseline.cells().items():
        found = {measure: fmean(by_qid.values()) for measure, by_qid in baseline.values.get(key, {}).items()}
        for measure in kept.measures.keys() | found.keys():
            told, held = kept.measures.get(measure), found.get(measure)
            if told is None or held is None or abs(told - held) > _CLOSE:
                place = f"{measure} of {key[1]} on {key[0]}"
                raise DataError(
                    f"{place} to be the mean over its queries, {held}", str(told), f"{_RESTORE} both files", file=file
                )


def _table(values: Mapping[Key, Values]) -> Any:
    """Lay out one row a dataset x system x query, sorted, one column a measure; absent values are null."""
    import pyarrow as pa

    measures = sorted({measure for found in values.values() for measure in found})
    rows = [
        (dataset, system, qid, [found[m].get(qid) if m in found else None for m in measures])
        for (dataset, system), found in sorted(values.items())
        for qid in sorted({qid for by_qid in found.values() for qid in by_qid})
    ]
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(KEYS)}
    for place, measure in enumerate(measures):
        columns[measure] = pa.array([row[3][place] for row in rows], pa.float32())
    return pa.table(columns)


def _values(content: bytes, path: Path) -> dict[Key, dict[str, dict[str, float]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(pa.BufferReader(content)).to_pydict()
        keys = [columns.pop(name) for name in KEYS]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError("the values of each query", str(error), f"{_RESTORE} the file", file=path) from error
    values: dict[Key, dict[str, dict[str, float]]] = {}
    for measure, column in columns.items():
        for dataset, system, qid, value in zip(*keys, column, strict=True):
            if value is not None:
                values.setdefault((dataset, system), {}).setdefault(measure, {})[qid] = value
    return values
