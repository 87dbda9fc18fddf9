"""Read a table as a corpus: each row is a passage, and where a column says so, also a question that it answers.

`table:FILE` reads the columns `text`, `title` and `_id`, `id` or `docid`. Other names stand behind a question mark,
`table:faq.csv?text=body&title=name&docid=key&query=question`, or in the settings: `columns = { text = "body" }`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import blanks, checks, paths
from harness.datasets.checks import Place
from harness.datasets.rows import JSON, KINDS, kind, rows, stem
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import ConfigError, DataError, UnknownNameError
from harness.types import Corpus, Dataset, Passage, Query, Split

USUAL: Mapping[str, tuple[str, ...]] = {
    "docid": ("_id", "id", "docid"),
    "title": ("title",),
    "text": ("text",),
    "document": (),
    "query": (),
    "answers": (),
}
"""What a table may hold -> the names of its column where none is given; questions and answers must be named."""


class Columns(NamedTuple):
    """What is read -> its column; only what the table has."""

    of: Mapping[str, str]

    def string(self, row: Mapping[str, Any], what: str, place: Place, default: str | None = None) -> str:
        """Return a text of a row; the default where the table has no such column or the value is null."""
        if what not in self.of and default is not None:
            return default
        return checks.string(row, self.of[what], place, default)


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read the table `given`; the name is the file's without its ending.

    Rows without a column of docids are counted from 1. Where a column of questions is named, every row with a question
    makes its passage relevant to it (grade 1); rows that ask the same are one query. All queries are test queries.

    Raises:
        ConfigError: a column is named for something a table does not hold.
        DataError: no such file or column, or a row that cannot be used; names the file and the line.
    """
    path, named = _parsed(given, settings)
    columns = _columns(path, named)
    corpus = gather(passage for _, passage in _passages(path, columns))
    _unique(corpus, path, columns)
    test = _asked(path, columns) if "query" in columns.of else Split("test")
    card = _card(path, columns, blanks.counted(corpus, test.queries))
    return Dataset(paths.readable(stem(path)), corpus, Split("train"), Split("dev"), test, card=card)


def _parsed(given: str, settings: DatasetSettings) -> tuple[Path, dict[str, str]]:
    """Split a name into the file and its columns; those in the name come before those of the settings."""
    named = {str(what): column for what, column in (settings.columns or {}).items()}
    file, mark, said = given.rpartition("?")
    if not mark or checks.exists(paths.find(given)):
        file, said = given, ""
    for part in filter(None, said.split("&")):
        what, equals, column = part.partition("=")
        if not equals or not column:
            fix = f"write {file}?text=NAME&title=NAME"
            raise ConfigError("the name of a column behind each '=' of the dataset's name", repr(part), fix)
        named[what] = column
    for what in named:
        if what not in USUAL:
            raise UnknownNameError.of("column of a table", what, USUAL)
    path = paths.find(file)
    if checks.exists(path) and path.is_dir():
        fix = f"name a file that ends in {', '.join(KINDS)}; a folder of texts is texts:{file}"
        raise DataError("a table", "a folder", fix, file=path)
    return path, named


def _columns(path: Path, named: Mapping[str, str]) -> Columns:
    """Look for the columns that are read: in the first row, or in all where each row names its own (JSON)."""
    for place, first in rows(path):
        every = dict.fromkeys(name for _, row in rows(path) for name in row) if _names_columns_anew(path) else first
        return Columns(_chosen(every, named, place))
    raise DataError("at least one row", "none", "give a table with rows below the names of its columns", file=path)


def _names_columns_anew(path: Path) -> bool:
    return kind(path) in JSON


def _chosen(names: Collection[str], named: Mapping[str, str], place: Place) -> dict[str, str]:
    fix = 'say which column it is: table:FILE?text=NAME&title=NAME, or columns = { text = "NAME", title = "NAME" }'
    got = f"the columns {', '.join(map(checks.shown, list(names)[:20]))}"
    for what, column in named.items():
        if column not in names:
            raise place.error(f"the column {column!r} ({what})", got, fix)
    usual = {what: next((n for n in known if n in names), "") for what, known in USUAL.items()}
    found = {what: column for what, column in {**usual, **named}.items() if column}
    if "text" not in found:
        raise place.error("the column 'text'", got, fix)
    return found


def _passages(path: Path, columns: Columns) -> Iterator[tuple[Place, Passage]]:
    for number, (place, row) in enumerate(rows(path), start=1):
        docid = _docid(row, columns, place, number)
        document = checks.plain_id(columns.string(row, "document", place, docid), "a document", place)
        title = columns.string(row, "title", place, "")
        yield place, Passage(docid, title, columns.string(row, "text", place), document)


def _docid(row: Mapping[str, Any], columns: Columns, place: Place, number: int) -> str:
    if "docid" not in columns.of:
        return str(number)
    value = row.get(columns.of["docid"])
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return checks.plain_id(columns.string(row, "docid", place), "a docid", place)


def _unique(corpus: Corpus, path: Path, columns: Columns) -> None:
    """Refuse a table in which two rows share a docid, naming both lines; it is read again only to find them."""
    from pyarrow import compute

    if compute.count_distinct(corpus.table.column("docid")).as_py() == len(corpus):
        return
    first: dict[str, int] = {}
    for place, passage in _passages(path, columns):
        if passage.docid in first:
            got = f"{passage.docid!r} again, first used in line {first[passage.docid]}"
            raise place.error("a docid of its own for every row", got, "rename one of the two, or merge the rows")
        first[passage.docid] = place.line


def _asked(path: Path, columns: Columns) -> Split:
    """Make the questions queries, in the order they are first asked in; equal ones but for case and blanks are one."""
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[str, int]] = {}
    for number, (place, row) in enumerate(rows(path), start=1):
        text = columns.string(row, "query", place, "")
        if not text.strip():
            continue
        docid = _docid(row, columns, place, number)
        key = " ".join(text.casefold().split())
        query = queries.setdefault(key, Query(f"q-{docid}", text))
        answers = (*query.answers, *_answers(row, columns, place))
        queries[key] = query._replace(answers=tuple(dict.fromkeys(answers)))
        qrels.setdefault(query.qid, {})[docid] = 1
    if not queries:
        fix = "name another column, or none for a set without queries"
        raise DataError(f"a question in the column {columns.of['query']!r}", "none in any row", fix, file=path)
    return Split("test", tuple(queries.values()), qrels)


def _answers(row: Mapping[str, Any], columns: Columns, place: Place) -> tuple[str, ...]:
    """Return the answers of a row: a text, or in .jsonl a list of texts."""
    if "answers" not in columns.of:
        return ()
    value = row.get(columns.of["answers"])
    found = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(answer, str) for answer in found):
        fix = "write one text or a list of texts"
        raise place.error(f"{columns.of['answers']!r} to hold answers", "something else", fix)
    return tuple(checks.clean(answer, "answers", place) for answer in found if answer.strip())


def _card(path: Path, columns: Columns, notes: list[str]) -> dict[str, Any]:
    read = ", ".join(f"{what} from {column!r}" for what, column in columns.of.items())
    name, asked = paths.readable(path.name), "query" in columns.of
    grades = "grade 1 for the passage of each row that asks the question; questions are equal but for case and blanks"
    return {
        "source": f"the table {name} ({read})",
        "licence": "not part of the file; see where it comes from",
        "description": f"{name}, a table {'with' if asked else 'without'} queries",
        "protocol": {
            "split_rule": "all are test queries" if asked else "no queries",
            "judgements": grades if asked else "none",
        },
        "notes": notes,
    }
