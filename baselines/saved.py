"""Write and read what every baseline keeps in its model folder: settings as JSON, docids as Arrow. No pickle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.atomic import replacing
from harness.errors import RunFolderError, StorageError
from harness.jsonfile import read_object, require, write_json

STATE = "state.json"
DOCIDS = "docids.arrow"
AGAIN = "build the model again"


def save_state(folder: Path, system: str, state: Mapping[str, Any]) -> None:
    """Write what a system is besides its arrays.

    Raises:
        StorageError: the file system refused.
    """
    write_json(folder / STATE, {"system": system, **state}, f"the settings of {system}")


def load_state(folder: Path, system: str) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises:
        RunFolderError: the folder holds no model, or one of another system.
    """
    state = read_object(folder / STATE)
    if state.pop("system", None) != system:
        raise RunFolderError(f"a saved {system} model in {folder}", "a model of another system", AGAIN)
    return state


def save_docids(folder: Path, docids: Sequence[str]) -> None:
    """Write the docids in row order.

    Raises:
        StorageError: the file system refused.
    """
    save_table(folder / DOCIDS, pa.table({"docid": pa.array(docids, pa.string())}))


def load_docids(folder: Path) -> tuple[str, ...]:
    """Return what `save_docids` wrote.

    Raises:
        RunFolderError: the file is absent or no Arrow file.
    """
    return tuple(load_table(folder / DOCIDS).column("docid").to_pylist())


def save_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow IPC file, whole or not at all.

    Raises:
        StorageError: the file system refused.
    """
    with (
        replacing(path, f"{path.name} of a model") as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)


def load_table(path: Path) -> pa.Table:
    """Read an Arrow IPC file into memory.

    Raises:
        RunFolderError: the file is absent or no Arrow file.
    """
    require(path)
    try:
        with pa.OSFile(str(path), "rb") as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowException as error:
        raise RunFolderError(f"an Arrow file at {path}", str(error), AGAIN) from error


@contextlib.contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """Turn a refused write of a library that saves by itself into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"to write {what} to {folder}", error.strerror or str(error), "free some room or choose a writable folder"
        ) from error


@contextlib.contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Turn a file that a library cannot read (absent, cut short) into a RunFolderError."""
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise RunFolderError(f"{what} in {folder}", str(error), AGAIN) from error


def text_bytes(strings: Iterable[str]) -> int:
    """Count the UTF-8 bytes of strings: what docids and vocabularies add to a footprint.

    >>> text_bytes(["ab", "é"])
    4
    """
    return sum(len(string.encode()) for string in strings)
