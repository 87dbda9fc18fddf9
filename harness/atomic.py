"""Write a file whole or not at all: a temporary file in the same folder, fsync, then os.replace. So too a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import ConfigError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def replacing(path: Path, what: str) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well.

    The folder is made where it is missing. If anything fails, the old file is as it was and no temporary file stays.

    Args:
        path: the file to write or replace.
        what: what is being written, in words, for the error message ("the run of bm25 on cranfield").

    Raises:
        StorageError: the file system refused (full, read-only, not allowed, …).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files only their owner may read; a run folder is meant to be shared.
        temporary.chmod(0o666 & ~_umask())
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _refused(error, path, what) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, what: str) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `path` when the block ends well, else nothing of it stays.

    Args:
        path: the folder to make; the folders above it are made where they are missing.
        what: what is being written, in words, for the error message.

    Raises:
        ConfigError: `path` is there already.
        StorageError: the file system refused.
    """
    temporary: Path | None = None
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
    except OSError as error:
        raise _refused(error, path, what) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """Refuse a folder, or anything else, that is there already: ConfigError."""
    if os.path.lexists(folder):
        fix = "choose another folder, or remove this one"
        raise ConfigError("the name of a folder that is not there yet", f"{folder}, which is", fix)


def write_text(path: Path, text: str, what: str) -> None:
    """Write `text` as UTF-8, whole or not at all; see `replacing` for what can go wrong."""
    with replacing(path, what) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _refused(error: OSError, path: Path, what: str) -> StorageError:
    if error.errno in _FULL:
        fix = (
            "free some room or choose another output folder, then give the same command again: finished cells are kept"
        )
    elif error.errno in _REFUSED:
        fix = f"make {path.parent} writable or choose another output folder"
    else:
        fix = f"check that {path.parent} is a folder on a working disk, or choose another output folder"
    reason = error.strerror or str(error)
    return StorageError(f"to write {what} to {path}", f"{reason}{_room(path)}", fix)


def _room(path: Path) -> str:
    existing = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if existing is None:
        return ""
    with contextlib.suppress(OSError):
        return f" ({shutil.disk_usage(existing).free / 1e6:,.1f} MB free there)"
    return ""
