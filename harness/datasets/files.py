"""Open the files of a dataset, on disk or packed, without a byte more than their packed size makes plausible."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from harness.errors import DataError

PLENTY_BYTES = 64 * 2**20
"""Unpacked size that nobody asks about."""
MOST_TIMES = 100
"""Above `PLENTY_BYTES`, a file may unpack to so many times its packed size; texts unpack to 3 to 20 times theirs."""

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    struct.error,
    NotImplementedError,
    UnicodeDecodeError,
)
"""What Python's own readers raise where an archive is cut off, changed, or packed in a way they do not know."""


class File(Protocol):
    """A file that can be read from its start, again and again; `path` is what messages call it."""

    @property
    def path(self) -> Path:
        """Where it is; for a member of an archive, its name below the archive's path."""

    def open(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open it for reading bytes.

        Raises:
            OSError: it is not there or may not be read.
            DataError: it is damaged, or unpacks to more than is plausible.
        """


class Plain(NamedTuple):
    """A file on disk."""

    path: Path

    def open(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open it as it is."""
        return opened(self.path)


class Gzipped(NamedTuple):
    """A file on disk that gzip has packed."""

    path: Path

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Unpack it while it is read."""
        with opened(self.path) as packed, undamaged(self.path), gzip.open(packed) as stream:
            yield bounded(stream, self.path.stat().st_size, self.path)


def of(path: Path) -> File:
    """Return the file at `path`, to be unpacked where its name ends in ".gz"."""
    return Gzipped(path) if path.suffix.lower() == ".gz" else Plain(path)


def opened(path: Path) -> io.BufferedReader:
    """Open a file on disk; a pipe, which would be waited for, or a device, which may have no end, is refused.

    Raises:
        OSError: it is not there, may not be read, or is a folder.
        DataError: it is no file, or no file can have such a name.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise DataError("the path of a file", str(error), "correct the path", file=path) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("a file", "a pipe, a socket or a device", "write what comes out of it into a file", file=path)
    return path.open("rb")


@contextlib.contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Say of an archive that cannot be unpacked that it is damaged."""
    try:
        yield
    except _DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    """Build the error for an archive that cannot be unpacked."""
    got = f"{type(error).__name__}: {error}".removesuffix(": ")
    return DataError("a whole archive", got, "download or pack it again", file=path)


def most_bytes(packed_bytes: int) -> int:
    """Say to how many bytes `packed_bytes` may unpack."""
    return max(PLENTY_BYTES, MOST_TIMES * packed_bytes)


def too_large(path: Path, packed_bytes: int) -> DataError:
    """Build the error for a file that unpacks to more than `most_bytes`."""
    return DataError(
        f"at most {most_bytes(packed_bytes):,} bytes from the {packed_bytes:,} that are packed",
        "more, as archives do that are made to fill a disk",
        "if you trust it, unpack it yourself and give the folder",
        file=path,
    )


def bounded(stream: Any, packed_bytes: int, path: Path) -> BinaryIO:
    """Return `stream` with a stop: reading more than `most_bytes` of it raises DataError."""
    return io.BufferedReader(Bounded(stream, packed_bytes, path))


class Bounded(io.RawIOBase):
    """A stream that stops the reader where more comes out than is plausible."""

    def __init__(self, stream: Any, packed_bytes: int, path: Path) -> None:
        self._stream = stream
        self._packed_bytes = packed_bytes
        self.path = path

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say whether the stream below is."""
        return bool(self._stream.seekable())

    def tell(self) -> int:
        """Return the place in the unpacked bytes."""
        return int(self._stream.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place counted from the start; going forward unpacks what is skipped."""
        if whence == io.SEEK_SET:
            self._allow(offset)
        return int(self._stream.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; a size that only a hostile file can name is refused before memory is taken."""
        if size < 0:
            return self.readall()
        if size > PLENTY_BYTES:
            raise too_large(self.path, self._packed_bytes)
        found: bytes = self._stream.read(size)
        self._allow(self.tell())
        return found

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _allow(self, offset: int) -> None:
        if offset > most_bytes(self._packed_bytes):
            raise too_large(self.path, self._packed_bytes)
