"""Keep two runs from writing one folder at a time.

The operating system holds the lock and drops it when the process ends, however it ends: a lock file left behind by
a process that was killed keeps nobody out.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.errors import RunFolderError, StorageError

NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs; makes the folder where it is missing.

    Raises:
        RunFolderError: another process holds the lock.
        StorageError: the folder cannot be made or written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _opened(path)
    except OSError as error:
        raise StorageError(
            f"a folder to write to at {folder}", error.strerror or str(error), "choose another output folder"
        ) from error
    if handle is None:
        raise RunFolderError(
            f"{folder} to be free",
            f"a run that is writing it (process {_holder(path)})",
            "wait for that run to end, or choose another output folder",
        )
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _holder(path: Path) -> str:
    """Name the process that has the lock, which may end, and remove the file, at any moment."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or "unknown"
    return "unknown"


def _opened(path: Path) -> int | None:
    """Open and lock the file and write the process id into it; None where another process has the lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _taken(handle):
            os.close(handle)
            return None
        # Its holder may have removed the file between our opening and locking it: then what we hold is nobody's lock.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                os.truncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _taken(handle: int) -> bool:
        with contextlib.suppress(OSError):
            # A byte far behind the process id, which others must be able to read.
            os.lseek(handle, 1 << 20, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
            return True
        return False

else:
    import fcntl

    def _taken(handle: int) -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
