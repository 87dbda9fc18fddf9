"""Make a folder beside its place and move it there when it is whole."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StorageError


def recover(folder: Path) -> None:
    """Tidy up after a process that was killed while it made `folder`; what was whole is kept.

    Raises:
        StorageError: the file system refused.
    """
    part, old = _beside(folder)
    with _storage(folder):
        if old.exists() and not folder.exists():
            old.rename(folder)
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def made_beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to fill; it takes its place when the block ends well, else it is removed.

    Raises:
        StorageError: the file system refused.
    """
    recover(folder)
    part, old = _beside(folder)
    try:
        with _storage(folder):
            part.mkdir(parents=True)
        yield part
        with _storage(folder):
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
    finally:
        recover(folder)


def kept_beside(folder: Path, key: str) -> Path:
    """Say where that is kept which an unfinished making of `folder`, of the kind `key`, goes on from."""
    return _kept(folder) / key


def drop_kept(folder: Path, but: str = "") -> None:
    """Delete what is kept beside `folder`, except what is of the kind `but`."""
    for kept in _kept(folder).glob("*"):
        if kept.name != but:
            shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or not empty
        _kept(folder).rmdir()


def _kept(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.training")


def _beside(folder: Path) -> tuple[Path, Path]:
    """Say where the folder is made, and where the one it replaces waits until it is."""
    return folder.with_name(f"{folder.name}.part"), folder.with_name(f"{folder.name}.old")


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"to write {folder}", error.strerror or str(error), "free some room, or choose another output folder"
        ) from error
