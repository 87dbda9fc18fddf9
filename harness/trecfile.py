"""Read a TREC run file that another program wrote: `qid Q0 docid rank score tag`, one hit a line, plain or gzip.

Nothing is trusted: every line is checked, and what is wrong with it is said with file and line. `harness.runfile` reads
what this program wrote itself.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.datasets import checks
from harness.datasets.checks import Place
from harness.datasets.files import Gzipped, Plain, opened
from harness.errors import DataError

COLUMNS = "qid Q0 docid rank score tag"
LONGEST_BYTES = 2**16
"""A longer line is no hit; packed, a few kilobytes could hold one of gigabytes."""

_GZIP = b"\x1f\x8b"
_RANK = re.compile(r"[0-9]{1,18}")
# float() alone would also take "1_0", "nan" and digits of other scripts.
_SCORE = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


class TrecLine(NamedTuple):
    """One hit as it stands in the file. Ids are not decoded; a larger `score` is better; `rank` may count from 0."""

    place: Place
    qid: str
    docid: str
    rank: int
    score: float


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex.

    Raises:
        DataError: absent or unreadable.
    """
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def read(path: Path) -> Iterator[TrecLine]:
    """Stream the hits of a run file in the order of the file; blank lines are passed over.

    Raises:
        DataError: absent or damaged, or a line is not UTF-8, too long, or not six columns with a rank and a finite
            score.
    """
    try:
        with opened(path) as raw:
            packed = raw.read(len(_GZIP)) == _GZIP
        with (Gzipped(path) if packed else Plain(path)).open() as file:
            raw_lines = checks.raw_lines(file, path, LONGEST_BYTES, f"lines {COLUMNS!r}", "give a TREC run file")
            for place, line in checks.lines_of(raw_lines, path):
                yield _hit(place, line)
    except OSError as error:
        raise _unreadable(path, error) from error


def _hit(place: Place, line: str) -> TrecLine:
    columns = line.split()
    if len(columns) != len(COLUMNS.split()):
        got = f"{len(columns)} column{'s' * (len(columns) != 1)}: {checks.shown(line)}"
        fix = 'write all six; an id or a tag with white space in it shifts them: write a blank as "%20"'
        raise place.error(f"six columns separated by white space: {COLUMNS}", got, fix)
    qid, _, docid, rank, score, _ = columns
    if not _RANK.fullmatch(rank):
        raise place.error("a whole number in column 4, the rank", checks.shown(rank), f"write the columns {COLUMNS}")
    return TrecLine(place, qid, docid, int(rank), _score(place, score))


def _score(place: Place, text: str) -> float:
    score = float(text) if _SCORE.fullmatch(text) else math.nan
    if not math.isfinite(score):
        fix = "give every hit a number, larger for a better one, or leave the hit out"
        raise place.error("a finite score in column 5", checks.shown(text), fix)
    return score


def _unreadable(path: Path, error: Exception) -> DataError:
    got = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or str(error)
    fix = "correct the path (a relative one begins in the current folder), or write the file again"
    return DataError("a readable TREC run file, plain or compressed with gzip", got, fix, file=path)
