"""Read data files line by line and refuse what cannot be used, with file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import pyarrow as pa

from harness.datasets.files import File, Plain
from harness.errors import DataError
from harness.types import Corpus

LONGEST_BYTES = 64 * 2**20
"""A line may be so long. Only so much of a longer one is read, and it is refused."""
QRELS_HEADER = "query-id\tcorpus-id\tscore"
_BOM = b"\xef\xbb\xbf"
_INTEGER = re.compile(r"-?[0-9]+")
_LARGEST_GRADE = 2**31 - 1


class Located(Protocol):
    """Where in a file something stands."""

    def error(self, expected: str, got: str, fix: str) -> DataError:
        """Build the error for it."""


class Place(NamedTuple):
    """A line of a file, counted from 1."""

    file: Path
    line: int

    def error(self, expected: str, got: str, fix: str) -> DataError:
        """Build the error for this line."""
        return DataError(expected, got, fix, file=self.file, line=self.line)


class Judgement(NamedTuple):
    """One line of a qrels file."""

    qid: str
    docid: str
    grade: int
    place: Place


def decoded(source: Path | File) -> Iterator[tuple[Place, str]]:
    """Yield every line of a UTF-8 file with its line end; a byte order mark is dropped.

    Raises:
        DataError: the file is missing, unreadable or damaged, or a line is not UTF-8 or holds a NUL byte.
    """
    file = Plain(source) if isinstance(source, Path) else source
    try:
        with file.open() as stream:
            yield from _decoded_lines(raw_lines(stream, file.path), file.path)
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        fix = f"put {file.path.name} there, or give another folder"
        raise DataError("a readable file", got, fix, file=file.path) from error


def lines(source: Path | File) -> Iterator[tuple[Place, str]]:
    """Yield the non-blank lines of a UTF-8 file without their line ends; a byte order mark and CRLF are accepted.

    Raises:
        DataError: as `decoded`.
    """
    return _written(decoded(source))


def raw_lines(
    stream: BinaryIO, path: Path, longest_bytes: int = LONGEST_BYTES, what: str = "lines", fix: str = "cut this line"
) -> Iterator[bytes]:
    """Yield the lines of an open file, `path` in messages; a line ends with "\\n".

    Raises:
        DataError: a line is longer than `longest_bytes`.
    """
    number = 0
    while line := stream.readline(longest_bytes + 1):
        number += 1
        if len(line) > longest_bytes:
            raise Place(path, number).error(f"{what} of at most {longest_bytes:,} bytes", "a longer one", fix)
        yield line


def lines_of(raw: Iterable[bytes], path: Path) -> Iterator[tuple[Place, str]]:
    """Yield what `lines` does of lines already read from the file `path`.

    Raises:
        DataError: a line is not UTF-8 or holds a NUL byte.
    """
    return _written(_decoded_lines(raw, path))


def records(source: Path | File) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the JSON objects of a file that holds one a line.

    Raises:
        DataError: as `lines`, or a line is not a JSON object.
    """
    for place, text in lines(source):
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            got = f"{error.msg} at column {error.colno}"
            raise place.error("one JSON object a line", got, "correct or remove this line") from error
        except (ValueError, RecursionError) as error:
            got = f"JSON that cannot be read ({error})"
            raise place.error("one JSON object a line", got, "correct or remove this line") from error
        if not isinstance(record, dict):
            fix = 'write the line as {"_id": …, "text": …}'
            raise place.error("one JSON object a line", shown(record), fix)
        yield place, record


def identifier(record: Mapping[str, Any], place: Place) -> str:
    """Return the record's `_id`: a string that is not empty and holds no white space."""
    return plain_id(string(record, "_id", place), "an _id", place)


def plain_id(value: str, expected: str, place: Located) -> str:
    """Return an id unchanged, or refuse one that run files, whose columns are separated by blanks, cannot hold."""
    if not value or any(character.isspace() for character in value):
        raise place.error(
            f"{expected} that is not empty and holds no white space", shown(value), "rename it, in the qrels too"
        )
    return value


def string(record: Mapping[str, Any], key: str, place: Located, default: str | None = None) -> str:
    """Return a text field; where it is absent or null, the default if there is one.

    Raises:
        DataError: the field is missing, not a string, or holds a NUL or half a surrogate pair.
    """
    value = record.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        got = f"no field {key!r}" if key not in record else f"{key!r}: {shown(value)}"
        raise place.error(f"the field {key!r} to be a string", got, f"add {key!r} as a string between quotes")
    return clean(value, key, place)


def clean(value: str, key: str, place: Located) -> str:
    """Return a text unchanged, or refuse one that cannot be written as UTF-8 or that holds a NUL."""
    if "\0" in value:
        got = f"a NUL character at position {value.index(chr(0))} of {key!r}"
        raise place.error("text without NUL characters", got, "remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        got = f"half a surrogate pair ({value[error.start]!r}) at position {error.start} of {key!r}"
        raise place.error("text of whole Unicode characters", got, "write the character as UTF-8") from error
    return value


def judgements(source: Path | File) -> Iterator[Judgement]:
    """Yield the lines of a qrels file in one of two layouts, which its first line tells.

    BEIR: the header `query-id corpus-id score`, then three columns separated by tabs. TREC: no header, four columns
    separated by white space (qid, a column nobody reads, docid, grade).

    Raises:
        DataError: as `lines`; or the header, a column, an id or a grade is not as it must be.
    """
    rows = lines(source)
    for place, first in rows:
        if first == QRELS_HEADER:
            yield from (_beir_judgement(place, row) for place, row in rows)
        elif _begins_trec(first):
            yield from (_trec_judgement(place, row) for place, row in chain([(place, first)], rows))
        else:
            fix = "write the header as the first line, with tabs between its three words, or all lines as TREC does"
            expected = f"the header {QRELS_HEADER!r} of BEIR's layout, or four columns 'qid 0 docid grade' as in TREC's"
            raise place.error(expected, shown(first), fix)


def _beir_judgement(place: Place, row: str) -> Judgement:
    columns = row.split("\t")
    if len(columns) != 3:
        got = f"{len(columns)} column{'s' * (len(columns) != 1)}: {shown(row)}"
        raise place.error("3 columns separated by tabs (query-id, corpus-id, score)", got, "correct this line")
    qid, docid, grade = columns
    plain_id(clean(qid, "query-id", place), "a query-id", place)
    plain_id(clean(docid, "corpus-id", place), "a corpus-id", place)
    return Judgement(qid, docid, _grade(grade, place), place)


def _begins_trec(row: str) -> bool:
    columns = row.split()
    return len(columns) == 4 and _INTEGER.fullmatch(columns[3]) is not None


def _trec_judgement(place: Place, row: str) -> Judgement:
    columns = row.split()
    if len(columns) != 4:
        got = f"{len(columns)} column{'s' * (len(columns) != 1)}: {shown(row)}"
        fix = "correct this line, or, if ids hold white space, use BEIR's layout, whose columns are separated by tabs"
        raise place.error("4 columns separated by white space (qid, 0, docid, grade), as in line 1", got, fix)
    qid, _, docid, grade = columns
    return Judgement(qid, docid, _grade(grade, place), place)


def unique_passages(corpus: Corpus, source: Path | File) -> None:
    """Refuse a corpus in which two passages share a docid, naming both lines of `source`.

    Counts in Arrow; the file is read again only to find the lines.
    """
    from pyarrow import compute

    docids = corpus.table.column("docid")
    if compute.count_distinct(docids).as_py() == len(corpus):
        return
    first: dict[str, int] = {}
    for place, record in records(source):
        docid = record["_id"]
        if docid in first:
            raise place.error(
                "every passage to have an _id of its own",
                f"{docid!r} again, first used in line {first[docid]}",
                "rename or remove one of the two",
            )
        first[docid] = place.line


def known_passages(found: list[Judgement], corpus: Corpus) -> None:
    """Refuse judgements of passages that the corpus does not hold."""
    from pyarrow import compute

    docids = pa.array([judgement.docid for judgement in found], pa.string())
    missing = compute.invert(compute.is_in(docids, value_set=corpus.table.column("docid")))
    row = compute.index(missing, value=True).as_py()
    if row >= 0:
        raise found[row].place.error(
            "judgements of passages in corpus.jsonl",
            f"the corpus-id {found[row].docid!r}, which no passage has",
            "add the passage or remove this line",
        )


def exists(path: Path) -> bool:
    """Tell whether a file or folder is there.

    Raises:
        DataError: the system cannot tell (no permission, a name too long).
    """
    try:
        return path.exists()
    except OSError as error:
        got = error.strerror or str(error)
        raise DataError("a path that can be read", got, "check the path and its permissions", file=path) from error


def folder(path: Path, expected: str) -> None:
    """Refuse what is not a folder; `expected` says what kind of one it should be.

    Raises:
        DataError: there is nothing, or a file.
    """
    if not exists(path):
        raise DataError(expected, "no such folder", "check the spelling of the path", file=path)
    if not path.is_dir():
        raise DataError(expected, "a file", f"give the folder, for example {path.parent}", file=path)


def _decoded_lines(raw: Iterable[bytes], path: Path) -> Iterator[tuple[Place, str]]:
    offset = 0
    for number, line in enumerate(raw, start=1):
        yield Place(path, number), _decoded(line, offset, Place(path, number))
        offset += len(line)


def _written(found: Iterator[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    return ((place, text.rstrip("\r\n")) for place, text in found if text.strip())


def _decoded(raw: bytes, offset: int, place: Place) -> str:
    if offset == 0 and raw.startswith(_BOM):
        raw, offset = raw[len(_BOM) :], len(_BOM)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        got = f"the byte 0x{raw[error.start]:02x} at offset {offset + error.start}, which is not UTF-8"
        raise place.error("a text file in UTF-8", got, "save the file as UTF-8") from error
    if "\0" in text:
        got = f"a NUL byte at offset {offset + raw.index(0)}"
        raise place.error("a text file in UTF-8", got, "remove it, or save the file as UTF-8") from None
    return text


def _grade(text: str, place: Place) -> int:
    # int() alone would also take "1_0", " 1" and digits of other scripts; ten digits bound what it has to convert.
    if not _INTEGER.fullmatch(text) or len(text) > 11 or abs(int(text)) > _LARGEST_GRADE:
        fix = "write 0 for not relevant, 1 or more for relevant"
        raise place.error("a grade that is an integer of at most 32 bits", shown(text), fix)
    return int(text)


def shown(value: object) -> str:
    """Show a string cut to 60 characters; of anything else only its JSON type, as it may be huge."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}… ({len(value)} characters)"
    kinds = {list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
