"""The numbers the paper prints, as published.json holds them, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, cast

from harness.errors import DataError

FILE = "published.json"
TEXTS = ("family", "system", "variant", "params")
"""Columns that hold texts; all others hold figures."""
WITHOUT_LIMIT = ("index_memory_mb", "beam", "latency_s")
"""Columns whose figures are no percentages."""

Value = str | float | None
"""None: not given in the paper."""


@dataclass(frozen=True)
class PublishedTable:
    """One table as it is printed; `rows` in its order, a value for each of `columns`."""

    number: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    @property
    def name_column(self) -> str:
        """The column that names a row."""
        return "variant" if "variant" in self.columns else "system"

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns that hold figures, in order."""
        return tuple(column for column in self.columns if column not in TEXTS)

    def value(self, row: tuple[Value, ...], column: str) -> Value:
        """Look up what stands in a column of a row; None where it is not given, or there is no such column."""
        return row[self.columns.index(column)] if column in self.columns else None

    def text(self, row: tuple[Value, ...], column: str) -> str:
        """Look up a text; empty where it is not given."""
        found = self.value(row, column)
        return "" if found is None else str(found)

    def figure(self, name: str, column: str) -> float | None:
        """Look up a figure of the first row of that name; None where it is not given."""
        found = next((row for row in self.rows if self.text(row, self.name_column) == name), None)
        return None if found is None else cast("float | None", self.value(found, column))


@dataclass(frozen=True)
class Published:
    """All of published.json. `figures`: number -> what is drawn. `datasets`: name -> counts."""

    source: str
    tables: Mapping[int, PublishedTable]
    figures: Mapping[int, str]
    datasets: Mapping[str, Mapping[str, int]]
    training: Mapping[str, str]

    @cached_property
    def citation(self) -> str:
        """Authors, title, place and edition, without what is said of the file itself."""
        return self.source.partition(". Facts only")[0]


def load(file: Path | None = None) -> Published:
    """Read the packaged file, or another of its form.

    Raises:
        DataError: it is no JSON, or not of this form; says which table and row.
    """
    place = str(file or FILE)
    try:
        text = (file or resources.files("reports.paper") / FILE).read_text(encoding="utf-8")
        record: Any = json.loads(text)
        return _checked(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        fix = "restore the file from the package"
        raise DataError("the published numbers: source, tables, figures, datasets", said, fix, file=place) from error


def _checked(record: Mapping[str, Any]) -> Published:
    tables = dict(_tables(record))
    datasets = {name: dict(counts) for name, counts in record["datasets"].items() if isinstance(counts, Mapping)}
    if not (tables and datasets and record["source"]):
        raise ValueError("no source, no table or no dataset in it")
    figures = {int(number): str(text) for number, text in record["figures"].items()}
    return Published(str(record["source"]), tables, figures, datasets, dict(record["training"]))


def _tables(record: Mapping[str, Any]) -> Iterator[tuple[int, PublishedTable]]:
    for key, found in record.items():
        if key.startswith("table"):
            number = int(key.removeprefix("table").partition("_")[0])
            columns = tuple(map(str, found["columns"]))
            rows = tuple(_row(number, columns, row) for row in found["rows"])
            yield number, PublishedTable(number, columns, rows)


def _row(number: int, columns: tuple[str, ...], row: list[Any]) -> tuple[Value, ...]:
    """Check one row: as long as the columns, texts and figures where they belong, shares within 0 and 100."""
    where = f"Table {number}, row {row!r}"
    if len(row) != len(columns):
        raise ValueError(f"{where}: {len(row)} values for {len(columns)} columns")
    for column, value in zip(columns, row, strict=True):
        if value is None:
            continue
        is_figure = isinstance(value, int | float) and not isinstance(value, bool)
        if is_figure == (column in TEXTS):
            raise ValueError(f"{where}: {value!r} under {column!r}")
        if is_figure and (value < 0 or (column not in WITHOUT_LIMIT and value > 100)):
            raise ValueError(f"{where}: {value!r} under {column!r} is out of range")
    return tuple(row)
