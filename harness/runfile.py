"""Write and read a run in TREC's format: `qid Q0 docid rank score tag`, one hit a line, compressed with gzip.

The format splits at white space, so white space and "%" inside a qid or docid stand percent-encoded ("a b" is
"a%20b"). Scores are written with as many digits as a 64-bit float needs to come back unchanged. A query without
hits has no line; measures count it as 0.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from harness.atomic import replacing
from harness.errors import DataError
from harness.ranking import ranked
from harness.types import Hit, Run

_COLUMNS = "qid Q0 docid rank score tag"


def write_trec(path: Path, run: Run, tag: str) -> None:
    """Write a run, whole or not at all; the same run always gives the same bytes.

    Args:
        path: file to write, usually run.trec.gz.
        run: qid -> hits, best first.
        tag: last column; names the system.

    Raises:
        DataError: a qid or docid is empty, or a score is not finite.
        StorageError: the file system refused.
    """
    with (
        replacing(path, f"the run of {tag}") as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
    ):
        for qid, hits in run.items():
            file.writelines(_lines(qid, hits, _encode(tag)))


def read_trec(path: Path) -> Run:
    """Read a run file, compressed or not (by its ending ".gz"), ordered by score and docid as trec_eval would.

    A file of `write_trec` comes back hit for hit. The rank column is not looked at.

    Raises:
        DataError: absent, damaged, a line of another shape, a docid twice for a query; names file and line.
    """
    hits: dict[str, dict[str, Hit]] = {}
    for number, line in enumerate(_text_lines(path), start=1):
        columns = line.split()
        if len(columns) != len(_COLUMNS.split()):
            raise _bad_line(path, number, f"six columns: {_COLUMNS}", repr(line.rstrip("\n")))
        qid, docid = unquote(columns[0]), unquote(columns[2])
        of_query = hits.setdefault(qid, {})
        if docid in of_query:
            raise _bad_line(path, number, f"each docid once for query {qid!r}", f"{docid!r} again")
        of_query[docid] = Hit(docid, _score(path, number, columns[4]))
    return {qid: ranked(of_query.values()) for qid, of_query in hits.items()}


def read_first(path: Path) -> dict[str, str]:
    """Read the docid of each query's best hit from a file of `write_trec`, without looking closely at the others.

    Raises:
        DataError: absent, damaged, or a line of another shape; names file and line.
    """
    best: dict[str, str] = {}
    for number, line in enumerate(_text_lines(path), start=1):
        columns = line.split(" ", 4)
        if len(columns) != 5:
            raise _bad_line(path, number, f"six columns: {_COLUMNS}", repr(line.rstrip("\n")))
        if columns[3] == "1":
            best[unquote(columns[0])] = unquote(columns[2])
    return best


def _lines(qid: str, hits: Sequence[Hit], tag: str) -> Iterator[str]:
    for rank, hit in enumerate(hits, start=1):
        if not (qid and hit.docid and math.isfinite(hit.score)):
            raise DataError(
                "a qid, a docid and a finite score in every hit of a run",
                f"query {qid!r}, docid {hit.docid!r}, score {hit.score}",
                "give every query and passage an id and every hit a number",
            )
        # float() first: NumPy's own repr would write "np.float32(…)".
        yield f"{_encode(qid)} Q0 {_encode(hit.docid)} {rank} {float(hit.score)!r} {tag}\n"


def _encode(text: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found[0], safe=""), text)


def _text_lines(path: Path) -> Iterator[str]:
    try:
        # Only "\n" ends a line here: a docid may hold other characters Python takes for line ends.
        with (
            path.open("rb") as raw,
            _unpacked(path, raw) as data,
            io.TextIOWrapper(data, "utf-8", newline="\n") as file,
        ):
            yield from file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError("a readable run file", str(error), "write the run again", file=path) from error


def _unpacked(path: Path, raw: io.BufferedReader) -> gzip.GzipFile | io.BufferedReader:
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def _score(path: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise _bad_line(path, number, "a finite score in column 5", repr(text))
    return score


def _bad_line(path: Path, number: int, expected: str, got: str) -> DataError:
    return DataError(expected, got, "write the run again, or mend this line", file=path, line=number)
