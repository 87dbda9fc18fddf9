"""Make a folder beside its place and move it there when it is whole."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StorageError


@contextlib.contextmanager
def made_beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to fill; it takes its place when the block ends well, else it is removed.

    Raises:
        StorageError: the file system refused.
    """
    part, old = (folder.with_name(f"{folder.name}.{ending}") for ending in ("part", "old"))
    try:
        with _storage(folder):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        yield part
        with _storage(folder):
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"to write {folder}", error.strerror or str(error), "free some room, or choose another output folder"
        ) from error
