"""Read a set in the JSON format of SQuAD, such as SQuAD 1.1 and 2.0 and XQuAD: paragraphs, and questions about each.

{"data": [{"title": "…", "paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", "answers":
[{"text": "…"}], "is_impossible": false}]}]}]}: `title` and `is_impossible` may be missing, other keys are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from harness.datasets import blanks, checks, dedupe, files, paths, splitting
from harness.datasets.settings import DatasetSettings, Resplit
from harness.datasets.stored import gather
from harness.errors import DataError
from harness.types import Dataset, Passage, Query

ENDINGS = (".json", ".json.gz")
_KEYS = "self-retrieval-splits-v1|{name}|{qid}"
"""What is hashed to deal out queries; the sets whose results are published were dealt so."""
_SHARES = Resplit().shares
_PREFIX, _PREFIX_OF_XQUAD = "sq", "xq"
_FIX = "get the file again, or correct it"


class Spot(NamedTuple):
    """Where in the JSON something stands, as `data[0].paragraphs[2]`; official files have no lines to name."""

    file: Path
    where: str = ""

    def error(self, expected: str, got: str, fix: str) -> DataError:
        """Build the error for this place."""
        return DataError(expected, f"{self.where}: {got}" if self.where else got, fix, file=self.file)

    def inside(self, key: str, number: int) -> Spot:
        """Return the place of an element, counted from 0, of the list `key` in the object that stands here."""
        return self._replace(where=f"{self.where}{'.' if self.where else ''}{key}[{number}]")


class Question(NamedTuple):
    """A question about a paragraph; without answers it has none there."""

    query: Query
    spot: Spot


class Paragraph(NamedTuple):
    """A paragraph as a passage, with its questions."""

    passage: Passage
    questions: tuple[Question, ...]


class Merged(NamedTuple):
    """What is left once equal passages and equal questions are one; `qrels` is qid -> docid -> grade."""

    passages: tuple[Passage, ...]
    queries: tuple[Query, ...]
    qrels: Mapping[str, Mapping[str, int]]
    notes: list[str]


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read the file `given`, a passage a paragraph; docids count the paragraphs from `sq-00000` (XQuAD: `xq-00000`).

    White space is squeezed; underscores and percent-escapes of titles are decoded. Questions without an answer in
    their paragraph (SQuAD 2.0) are left out. The others are dealt out by the hash of `name` (the name of the file where
    it is not set) and their ids.

    Raises:
        DataError: no such file, not in this format, or no question falls to the test split; names the file and the
            place in it.
    """
    path = _file(given)
    stem = paths.readable(_stem(path))
    name = paths.readable(settings.name or stem)
    found = _merged(_paragraphs(path, _PREFIX_OF_XQUAD if stem.lower().startswith("xquad") else _PREFIX))
    splits = splitting.deal(found.queries, found.qrels, lambda qid: _KEYS.format(name=name, qid=qid), _SHARES)
    if not splits["test"].queries:
        got = f"none of the {len(found.queries)} that have an answer"
        fix = "set another name, or give a larger set" if found.queries else "check that the file is whole"
        raise DataError("a question for the test split", got, fix, file=path)
    corpus = gather(found.passages)
    notes = found.notes + blanks.counted(corpus, found.queries)
    return Dataset(stem, corpus, **splits, card=_card(paths.readable(path.name), name, notes))


def _file(given: str) -> Path:
    path = paths.find(given)
    if not path.name.lower().endswith(ENDINGS):
        fix = f"name a file that ends in {' or '.join(ENDINGS)}"
        raise DataError("a file in the JSON format of SQuAD", "a file of another kind", fix, file=path)
    return path


def _stem(path: Path) -> str:
    """Return the name of a file without its ending; "squad" where nothing is left.

    >>> _stem(Path("dev-v1.1.json")), _stem(Path("xquad.en.JSON.gz")), _stem(Path(".json"))
    ('dev-v1.1', 'xquad.en', 'squad')
    """
    ending = next(ending for ending in ENDINGS if path.name.lower().endswith(ending))
    return path.name[: -len(ending)] or "squad"


def _whole(path: Path) -> dict[str, Any]:
    """Read the file, which is one JSON object."""
    text = "".join(_bounded(path))
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        place = checks.Place(path, error.lineno)
        raise place.error("one JSON object", f"{error.msg} at column {error.colno}", _FIX) from error
    except (ValueError, RecursionError) as error:
        raise Spot(path).error("one JSON object", f"JSON that cannot be read ({error})", _FIX) from error
    if not isinstance(found, dict):
        raise Spot(path).error("one JSON object with the list 'data'", checks.shown(found), _FIX)
    return found


def _bounded(path: Path) -> Iterator[str]:
    """Yield the lines of the file, refusing one that is too long to be held in memory as a whole."""
    characters = 0
    for _, line in checks.decoded(files.of(path)):
        characters += len(line)
        if characters > checks.LONGEST_BYTES:
            expected = f"a file of at most {checks.LONGEST_BYTES:,} characters"
            raise Spot(path).error(expected, "a longer one", "cut it into several files")
        yield line


def _paragraphs(path: Path, prefix: str) -> Iterator[Paragraph]:
    number = 0
    for article, at in _objects(_whole(path), "data", Spot(path)):
        title = _title(article, at)
        for paragraph, spot in _objects(article, "paragraphs", at):
            docid = f"{prefix}-{number:05}"
            passage = Passage(docid, title, _squeezed(paragraph, "context", spot), docid)
            yield Paragraph(passage, tuple(_question(*each) for each in _objects(paragraph, "qas", spot)))
            number += 1


def _objects(record: Mapping[str, Any], key: str, spot: Spot) -> Iterator[tuple[dict[str, Any], Spot]]:
    """Yield the objects of a list with the place of each."""
    found = record.get(key)
    if not isinstance(found, list):
        got = checks.shown(found) if key in record else f"no field {key!r}"
        raise spot.error(f"the field {key!r} to be a list of objects", got, _FIX)
    for number, each in enumerate(found):
        place = spot.inside(key, number)
        if not isinstance(each, dict):
            raise place.error(f"the field {key!r} to be a list of objects", checks.shown(each), _FIX)
        yield each, place


def _question(record: Mapping[str, Any], spot: Spot) -> Question:
    impossible = record.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise spot.error("the field 'is_impossible' to be true or false", checks.shown(impossible), _FIX)
    answers = () if impossible else _answers(record, spot)
    return Question(Query(_qid(record, spot), _squeezed(record, "question", spot), answers), spot)


def _qid(record: Mapping[str, Any], spot: Spot) -> str:
    value = record.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return checks.plain_id(checks.string(record, "id", spot), "an id", spot)


def _answers(record: Mapping[str, Any], spot: Spot) -> tuple[str, ...]:
    """Return the answers that differ, in their order."""
    found = (_squeezed(answer, "text", place) for answer, place in _objects(record, "answers", spot))
    return tuple(dict.fromkeys(filter(None, found)))


def _title(article: Mapping[str, Any], spot: Spot) -> str:
    """Return the title of an article, which names its page as a web address does; empty where there is none.

    >>> _title({"title": "Caf%C3%A9_au_lait"}, Spot(Path("dev.json")))
    'Café au lait'
    """
    written = unquote(checks.string(article, "title", spot, "")).replace("_", " ")
    return " ".join(checks.clean(written, "title", spot).split())


def _squeezed(record: Mapping[str, Any], key: str, spot: Spot) -> str:
    return " ".join(checks.string(record, key, spot).split())


def _merged(paragraphs: Iterable[Paragraph]) -> Merged:
    """Make equal passages the first of them, and equal questions too; the first takes over all judgements.

    Its answers stay its own: those of another copy are words of another paragraph.
    """
    passages: dict[str, Passage] = {}
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[str, int]] = {}
    where: dict[str, Spot] = {}
    read = answered = 0
    for passage, questions in paragraphs:
        read += 1
        docid = passages.setdefault(_normal(passage.text), passage).docid
        for asked, spot in questions:
            _need_new(asked.qid, spot, where)
            if asked.answers:
                answered += 1
                query = queries.setdefault(_normal(asked.text), asked)
                qrels.setdefault(query.qid, {})[docid] = 1
    counted = (
        (len(where) - answered, len(where), "questions left out (no answer in their paragraph)"),
        (read - len(passages), read, "passages merged with one that says the same"),
        (answered - len(queries), answered, "questions merged with one that asks the same"),
    )
    notes = [f"{n} of {total} {what}" for n, total, what in counted if n]
    return Merged(tuple(passages.values()), tuple(queries.values()), qrels, notes)


def _need_new(qid: str, spot: Spot, where: dict[str, Spot]) -> None:
    if qid in where:
        got = f"{qid!r} again, first used in {where[qid].where}"
        raise spot.error("every question to have an id of its own", got, "rename or remove one of the two")
    where[qid] = spot


def _normal(text: str) -> str:
    """Return what equal texts share; one without words is equal to none but itself."""
    return dedupe.normal(text) or text


def _card(file: str, name: str, notes: list[str]) -> dict[str, Any]:
    return {
        "source": f"the file {file} in the JSON format of SQuAD",
        "licence": "not part of the file; see where it comes from (SQuAD and XQuAD: CC BY-SA 4.0)",
        "description": f"{file}: paragraphs and the questions that were asked about them",
        "protocol": {
            "collection": "a passage a paragraph; of passages, and of questions, equal but for case, white space and "
            "punctuation the first stays, a question with its answers and the paragraphs of all",
            "split_rule": splitting.dealt(_KEYS.format(name=name, qid="<query id>"), _SHARES),
            "judgements": "grade 1 for the paragraph that a question was asked about",
        },
        "notes": notes,
    }
