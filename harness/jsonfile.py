"""Read and write JSON files; what is wrong with a file is said with its name."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.atomic import write_text
from harness.errors import RunFolderError
from harness.records import FORMAT

AGAIN = "give the same `harness run` command again: finished cells are kept"


def write_json(path: Path, value: object, what: str) -> None:
    """Write `value` as indented JSON, whole or not at all, in plain JSON numbers.

    A mapping's entries that are NaN or infinite are left out: a figure that was not measured is absent.

    Raises:
        StorageError: the file system refused.
        ValueError, TypeError: a list holds NaN, or a value has no JSON form (a mistake of the caller).
    """
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=1)
    write_text(path, text + "\n", what)


def plain(value: object) -> Any:
    """Copy a value into what JSON knows: NumPy numbers become Python's, non-finite entries of mappings go.

    >>> plain({"a": float("nan"), "b": (1, 2.5), "c": None})
    {'b': [1, 2.5], 'c': None}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if not _not_finite(item)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return value


def _not_finite(value: object) -> bool:
    return isinstance(value, numbers.Real) and not math.isfinite(value)


def require(path: Path) -> None:
    """Refuse to go on without a file: RunFolderError."""
    if not path.is_file():
        raise RunFolderError(f"the file {path}", "no such file", f"look at status.json beside it, or {AGAIN}")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]], what: str) -> None:
    """Write one JSON object a line, all or nothing; see `write_json`."""
    lines = [json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    write_text(path, "".join(lines), what)


def read_lines(path: Path) -> list[Any]:
    """Read one JSON value a line.

    A last line without its end is left out: the process that wrote it was stopped in the middle.
    """
    *lines, _ = _read_text(path).split("\n")
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object; RunFolderError when absent or anything else."""
    value = _parse(_read_text(path), path)
    if not isinstance(value, dict):
        raise RunFolderError(f"a JSON object in {path}", type(value).__name__, f"delete the file and {AGAIN}")
    return value


def read_rows(path: Path) -> list[Any]:
    """Read a file that holds a JSON list; RunFolderError when absent or anything else."""
    rows = _parse(_read_text(path), path)
    if not isinstance(rows, list):
        raise RunFolderError(f"a JSON list in {path}", type(rows).__name__, f"delete the file and {AGAIN}")
    return rows


def check_format(record: Mapping[str, Any], path: Path) -> None:
    """Refuse a record of another version of the run folder: RunFolderError."""
    found = record.get("format")
    if found != FORMAT:
        raise RunFolderError(
            f"{path} of format {FORMAT}, which this program reads",
            f"format {found!r}",
            "use the version of the harness that wrote it, or run the experiment again into a new folder",
        )


def check_keys(
    record: Mapping[str, Any], needed: Collection[str], path: Path, fix: str = f"delete it and {AGAIN}"
) -> None:
    """Refuse a record that lacks one of these keys: RunFolderError."""
    missing = sorted(set(needed) - record.keys())
    if missing:
        raise RunFolderError(f"{path} to name {', '.join(missing)}", "a file without", fix)


def _read_text(path: Path) -> str:
    require(path)
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"to read {path}", error.strerror or str(error), "make the file readable") from error


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        place = str(error)
    raise RunFolderError(f"JSON in {path}", place, f"delete the file and {AGAIN}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON number")
