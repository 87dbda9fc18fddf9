"""Read tables row by row: .csv and .tsv with the names of their columns in the first line, .jsonl with objects."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import checks
from harness.datasets.checks import Place
from harness.datasets.files import File, of
from harness.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PACKED = ".gz"
JSON = (".jsonl", ".ndjson")
"""Of these, the endings of tables whose rows name their own columns."""
KINDS = (*_DELIMITERS, *JSON)
"""Endings of the names of tables; each may be followed by ".gz"."""
_LONGEST_FIELD = checks.LONGEST_BYTES
"""Characters; a quote that nobody closes would else take in the rest of the file."""

Row = tuple[Place, Mapping[str, Any]]
"""Where a row begins, and column -> value."""


def kind(path: Path) -> str:
    """Return which of `KINDS` a file is by its name; empty where it is none."""
    name = path.name.lower().removesuffix(_PACKED)
    return next((ending for ending in KINDS if name.endswith(ending)), "")


def stem(path: Path) -> str:
    """Return the name of a table without its ending; "table" where nothing is left.

    >>> stem(Path("faq.CSV.gz")), stem(Path(".tsv"))
    ('faq', 'table')
    """
    name = path.name[: -len(_PACKED)] if path.name.lower().endswith(_PACKED) else path.name
    return name[: -len(kind(path))] or "table"


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table; every row of a .csv or .tsv has all columns. Rows without any value are passed over.

    Raises:
        DataError: not a table, not there, damaged, or a row is not as the first line says; names the file and the line.
    """
    if not kind(path):
        fix = f"name a file that ends in {', '.join(KINDS)}, also followed by .gz"
        raise DataError("a table", "a file of another kind", fix, file=path)
    delimiter = _DELIMITERS.get(kind(path))
    return checks.records(of(path)) if delimiter is None else _delimited(of(path), delimiter)


def _delimited(file: File, delimiter: str) -> Iterator[Row]:
    header: list[str] | None = None
    for place, values in _split(file, delimiter):
        if header is None:
            header = _header(values, place)
        elif len(values) != len(header):
            fix = "put a field that holds the separator or a line end between double quotes"
            got = f"{len(values)} field{'s' * (len(values) != 1)}"
            raise place.error(f"{len(header)} fields, as in the first line", got, fix)
        else:
            yield place, dict(zip(header, values, strict=True))


def _split(file: File, delimiter: str) -> Iterator[tuple[Place, list[str]]]:
    # The limit belongs to the whole process; the one it begins with is shorter than many texts.
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader((text for _, text in checks.decoded(file)), delimiter=delimiter, strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "double the quotes inside a quoted field, and close it"
            raise Place(file.path, begin).error("fields separated as in CSV", str(error), fix) from error
        if any(value.strip() for value in values):
            yield Place(file.path, begin), values


def _header(values: list[str], place: Place) -> list[str]:
    names = [value.strip() for value in values]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise place.error("a name of its own for each column", f"{twice[0]!r} twice", "rename one of the two")
    return names
