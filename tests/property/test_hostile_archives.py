"""Hostile archives: members that climb out, links, doubles, passwords, lies about sizes, damage anywhere."""

from __future__ import annotations

import gzip
import io
import re
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import strategies as st

from tests.property.hostile import NASTY, SMALL_SET, damaged, fuzz, mostly, place, put, try_to_load, unchanged


class Member(NamedTuple):
    """A member of an archive; `kind` is a type of tar or 0, `lie` is said of its size."""

    name: str
    raw: bytes
    kind: int = 0
    lie: int | None = None


CLIMBING = ("../x", "../../x", "a/../../x", "/tmp/x", "..", "C:\\x", "..\\x", "\\\\host\\x", "./../x", "//x", "~/x")
NAMES = st.sampled_from(
    [*CLIMBING, "corpus.jsonl", "./corpus.jsonl", "set/corpus.jsonl", "x", "x/", "qrels/", "\udce9"]
)
KINDS = st.sampled_from(
    [ord(kind) for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"S", b"x", b"g", b"L", b"K", b"V")]
)
LIES = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**62, -1, -512, -1024, -(2**40)])
OTHERS = st.builds(
    Member,
    NAMES | st.sampled_from(NASTY),
    st.binary(max_size=20)
    | st.just(b"0" * 200_000)
    | st.just(b"30 path=../../../x\n")
    | st.just(b"9" * 30 + b" a=b\n"),
    mostly(st.just(0), KINDS, 3),
    mostly(st.none(), LIES, 3),
)


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """The small set, below a folder or not, with up to three others among its files, one of them changed."""
    top = draw(st.sampled_from(["", "set/", "./", "a/b/"]))
    found = [Member(top + name, raw) for name, raw in SMALL_SET.items()]
    for other in draw(mostly(st.just([]), st.lists(OTHERS, min_size=1, max_size=3), 1)):
        found.insert(draw(st.integers(0, len(found))), other)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(found) - 1))
        found[at] = found[at]._replace(lie=draw(mostly(st.none(), LIES, 2)), kind=draw(mostly(st.just(0), KINDS, 3)))
    return found


def zipped(found: list[Member], method: int) -> bytes:
    """Write a .zip; a member of a kind is a link, one with a lie says so of its size."""
    sink = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(sink, "w", method) as packed:
        for member in found:
            info = zipfile.ZipInfo(member.name.encode("utf-8", "replace").decode().replace("\0", "_"))
            info.compress_type = method
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if member.kind else 0
            packed.writestr(info, member.raw)
    raw = bytearray(sink.getvalue())
    entries = [match.start() for match in re.finditer(b"PK\x01\x02", bytes(raw))]
    for member, entry in zip(found, entries, strict=False):
        if member.lie is not None and entry + 46 <= len(raw):
            struct.pack_into("<LL", raw, entry + 20, member.lie % 2**32, member.lie % 2**32)
            struct.pack_into("<L", raw, entry + 42, member.lie % 2**32 if member.lie % 3 else 0)
    return bytes(raw)


def tarred(found: list[Member]) -> bytes:
    """Write a .tar; sizes and types are as each member says, whether or not that makes sense."""
    blocks = []
    for member in found:
        info = tarfile.TarInfo()
        info.size = len(member.raw)
        info.type = bytes([member.kind]) if member.kind else tarfile.REGTYPE
        info.linkname = "/etc/passwd" if member.kind else ""
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        head[:100] = member.name.encode("utf-8", "surrogatepass")[:99].ljust(100, b"\0")
        if member.lie is not None:
            # Numbers of 96 bits, with a sign or with a mark.
            head[124:136] = (member.lie % 2**96 if member.lie < 0 else member.lie | 1 << 95).to_bytes(12, "big")
        head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:512]) + 8 * ord(" "))
        blocks.append(bytes(head) + member.raw + b"\0" * (-len(member.raw) % 512))
    return b"".join(blocks) + b"\0" * 1024


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    raw = zipped(draw(members()), draw(mostly(st.just(zipfile.ZIP_DEFLATED), st.sampled_from([0, zipfile.ZIP_LZMA]))))
    if draw(st.integers(0, 9)) == 9:
        flags = bytearray(raw)
        for entry in re.finditer(b"PK\x01\x02", raw):
            flags[entry.start() + 8] |= draw(st.sampled_from([0x1, 0x8, 0x20, 0x40]))
        raw = bytes(flags)
    return draw(mostly(st.just(raw), damaged(raw), 1))


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    raw = tarred(draw(members()))
    raw = gzip.compress(draw(mostly(st.just(raw), damaged(raw), 1)), mtime=0)
    return draw(mostly(st.just(raw), damaged(raw), 3))


def check(content: Mapping[str, bytes]) -> str:
    with place() as folder:
        put(folder, content)
        (name,) = content
        return unchanged(folder, lambda: try_to_load(f"beir:{folder}/{name}"))


def test_any_zip_is_read_or_refused() -> None:
    seen = fuzz("zip", zips().map(lambda raw: {"set.zip": raw}), check)
    assert seen["loaded"] and seen["refused"]


def test_any_tar_is_read_or_refused() -> None:
    seen = fuzz("tar", tars().map(lambda raw: {"set.tar.gz": raw}), check)
    assert seen["loaded"] and seen["refused"]
