"""Find the files of a dataset: a path as given, or below the reader's own folder of datasets."""

from __future__ import annotations

import os
from pathlib import Path

from harness.datasets import checks
from harness.errors import DataError

DATA_VARIABLE = "HARNESS_DATA"
"""Environment variable: a folder of datasets, which their names alone then find."""


def find(given: str) -> Path:
    """Return the path `given`, with ~ expanded; what is not there is looked for in the folder HARNESS_DATA names.

    Raises:
        DataError: the system cannot tell whether something is there.
    """
    path = expanded(given)
    return path if checks.exists(path) else in_data_folder(given) or path


def expanded(given: str) -> Path:
    """Return the path `given`, with ~ expanded.

    Raises:
        DataError: it names the home of a user who does not exist, or holds a NUL.
    """
    try:
        return Path(given).expanduser()
    except (RuntimeError, ValueError) as error:
        raise DataError("a path", f"{given!r} ({error})", "write the path in full") from error


def readable(name: str) -> str:
    r"""Return the name of a file as text that can be written down; each byte of it that is no UTF-8 becomes "?".

    >>> readable("caf\udce9")
    'caf?'
    """
    return name.encode("utf-8", "replace").decode("utf-8")


def in_data_folder(given: str) -> Path | None:
    """Find what has that name among the reader's own datasets."""
    kept = os.environ.get(DATA_VARIABLE)
    if not kept or Path(given).is_absolute() or ".." in Path(given).parts:
        return None
    path = expanded(kept) / given
    return path if checks.exists(path) else None


def means_path(given: str) -> bool:
    """Tell whether a name without a prefix is meant as a path: it looks like one, or something is there."""
    path = expanded(given)
    return path.is_absolute() or given.startswith((".", "~")) or checks.exists(path)
