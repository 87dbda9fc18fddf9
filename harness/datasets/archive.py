"""Find the files in a .zip or .tar.gz by name; nothing is unpacked to disk, and a hostile archive is refused.

A member that would land outside the folder it is unpacked into, a link, or a member of a protected archive makes the
whole archive unusable, whether or not the member is one that is read.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from harness.datasets.files import Bounded, File, bounded, damaged, undamaged
from harness.errors import DataError

SUFFIXES = (".zip", ".tar.gz", ".tgz")
MOST_MEMBERS = 10_000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
_CHUNK_BYTES = 2**16
_MANY_DIGITS = re.compile(rb"[0-9]{1000}")
_MALFORMED = (ValueError, OverflowError, LookupError, RecursionError)
"""What Python's readers of archives raise besides, where a header holds what they do not expect."""
_REPACK = "pack the files again, without this member"


class ZipMember(NamedTuple):
    """A file in a .zip; `name` is what the archive calls it."""

    archive: Path
    name: str

    @property
    def path(self) -> Path:
        """Its name below the archive's path."""
        return self.archive / self.name

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Unpack it while it is read."""
        with undamaged(self.archive), contextlib.ExitStack() as stack:
            try:
                packed = stack.enter_context(zipfile.ZipFile(self.archive))
                stream = stack.enter_context(packed.open(self.name))
            except _MALFORMED as error:
                raise damaged(self.archive, error) from error
            # The archive may claim any size for what is packed, but not one larger than itself.
            packed_bytes = min(packed.getinfo(self.name).compress_size, self.archive.stat().st_size)
            yield bounded(stream, packed_bytes, self.path)


class TarMember(NamedTuple):
    """A file in a .tar.gz; `name` is what the archive calls it."""

    archive: Path
    name: str

    @property
    def path(self) -> Path:
        """Its name below the archive's path."""
        return self.archive / self.name

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Unpack the archive up to the file, and the file while it is read."""
        with _tar(self.archive, Bounded) as (members, _):
            for member in members:
                stream = members.extractfile(member) if member.name == self.name else None
                if stream is not None:
                    yield cast(BinaryIO, stream)
                    return
        raise FileNotFoundError(self.name)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """Return the name of an archive without its ending.

    >>> stem(Path("sets/scifact.tar.gz"))
    'scifact'
    """
    return path.name[: -next(len(suffix) for suffix in SUFFIXES if path.name.lower().endswith(suffix))]


def files(path: Path) -> dict[str, File]:
    """List the files in an archive: name, with "/" between its parts -> file.

    Raises:
        DataError: it is damaged, protected or hostile, or two members have one name.
    """
    try:
        found = _zipped(path) if path.name.lower().endswith(".zip") else _tarred(path)
        return _by_name(path, found)
    except _MALFORMED as error:
        raise damaged(path, error) from error
    except OSError as error:
        got = error.strerror or str(error)
        raise DataError("an archive that can be read", got, "check the path and its permissions", file=path) from error


def _zipped(path: Path) -> Iterator[tuple[str, File]]:
    with undamaged(path), zipfile.ZipFile(path) as packed:
        for member in packed.infolist():
            name = _inside(path, member.orig_filename)
            if member.flag_bits & _ENCRYPTED:
                raise _refused(path, "an archive without a password", name, "unpack it and give the folder")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(path, "an archive of files alone", f"{name}, a link or a device", _REPACK)
            if member.compress_type not in _METHODS:
                raise _refused(path, "members packed with deflate", f"{name} by method {member.compress_type}", _REPACK)
            if not member.is_dir():
                yield name, ZipMember(path, member.filename)


def _tarred(path: Path) -> Iterator[tuple[str, File]]:
    with _tar(path, _Headers) as (members, stream):
        for member in members:
            name = _inside(path, member.name)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise _refused(path, "an archive of files alone", f"{name}, a link or a device", _REPACK)
            if member.isfile():
                yield name, TarMember(path, member.name)
        # The checksum is at the very end.
        while stream.read(_CHUNK_BYTES):
            pass


class _Headers(Bounded):
    """A stream of which a list of members reads the headers alone; one that no file system could cause is refused.

    Python 3.11.7 and others take time that grows with the square of the digits in a row, and follow sizes below 0.
    """

    def read(self, size: int = -1) -> bytes:
        """Read a header of `size` bytes."""
        found = super().read(size) if size >= 0 else b""
        if size < 0 or len(found) > _CHUNK_BYTES or _MANY_DIGITS.search(found):
            expected = f"headers of at most {_CHUNK_BYTES:,} bytes, without long rows of digits"
            raise DataError(expected, "another one", "pack the files again", file=self.path)
        return found


@contextlib.contextmanager
def _tar(path: Path, kind: type[Bounded]) -> Iterator[tuple[tarfile.TarFile, Bounded]]:
    with undamaged(path), gzip.open(path) as packed:
        stream = kind(packed, path.stat().st_size, path)
        with tarfile.open(fileobj=stream, mode="r:") as members:
            yield members, stream


def _inside(path: Path, name: str) -> str:
    """Return a member's name, tidied; refuse one that leads out of the folder it is unpacked into."""
    forward = name.replace("\\", "/")
    parts = PurePosixPath(forward).parts
    if not name or "\0" in name or ".." in parts or forward.startswith("/") or re.match("[A-Za-z]:", forward):
        raise _refused(path, "an archive whose members stay inside it", name, _REPACK)
    return "/".join(parts)


def _by_name(path: Path, found: Iterable[tuple[str, File]]) -> dict[str, File]:
    members: dict[str, File] = {}
    for name, file in found:
        if name in members:
            raise _refused(path, "each member once", f"{name} again", _REPACK)
        if len(members) == MOST_MEMBERS:
            fix = "pack the files of the set alone, or unpack it and give the folder"
            raise DataError(f"an archive of at most {MOST_MEMBERS:,} files", "more", fix, file=path)
        members[name] = file
    return members


def _refused(path: Path, expected: str, member: str, fix: str) -> DataError:
    return DataError(expected, f"the member {member[:200]!r}", fix, file=path)
