"""Read KILT: its knowledge source, cut into passages, and the questions of one of its sets with their provenance.

KILT keeps the answers of its test sets to itself, so its dev set is the test split here; the card says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import assembly, checks, chunking, paths, published
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError, UnknownNameError
from harness.types import Dataset, Passage, Query, Split

SOURCE = "kilt_knowledgesource.json"

_LAYOUT = f"{SOURCE}, nq-train-kilt.jsonl and nq-dev-kilt.jsonl (or those of triviaqa)"
_WHERE = "the KILT benchmark (the list of files in the README of its public repository)"
_DEV = "-dev-kilt.jsonl"
_WORD = re.compile(r"\S+")
_HEADING, _BULLET = "Section::::", "BULLET::::-"
_END = 2**31


class Span(NamedTuple):
    """A provenance: from a character of a paragraph (both from 0) to before another."""

    start: tuple[int, int]
    end: tuple[int, int]


class Word(NamedTuple):
    """A word of a page and where it stands."""

    text: str
    paragraph: int
    start: int
    end: int

    def within(self, span: Span) -> bool:
        """Tell whether a character of the word lies in the span."""
        return (self.paragraph, self.end) > span.start and (self.paragraph, self.start) < span.end


Key = tuple[str, str]
"""(split, qid): two files of questions may use an id twice."""
Gold = Mapping[str, Mapping[Span, list[Key]]]
"""wikipedia_id -> span -> the questions it answers."""
Qrels = Mapping[Key, dict[str, int]]
"""question -> docid -> grade."""


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read `FOLDER`, or `FOLDER/SET` where it holds the questions of several sets (`nq`, `triviaqa`).

    Passages hold whole sentences, at most `kilt_passage_words`; docids are `wikipedia_id.passage number`.
    Relevant (grade 1) is every passage that overlaps a provenance of an answer.

    Raises:
        UnknownNameError: the folder holds several sets and none was chosen.
        DataError: a file is missing or malformed; names the file and the line.
    """
    folder, name = _chosen(given)
    source = published.file(folder, SOURCE, _WHERE)
    dev = published.file(folder, f"{name}{_DEV}", _WHERE)
    train = folder / f"{name}-train-kilt.jsonl"
    asked = {"train": read_questions(train) if checks.exists(train) else [], "test": read_questions(dev)}
    gold = _gold(asked)
    qrels: Qrels = defaultdict(dict)
    unmet = {(page, span) for page, spans in gold.items() for span in spans}
    corpus = gather(_passages(source, settings.kilt_passage_words, gold, qrels, unmet))
    assembly.need_unique(corpus, source)
    name = paths.readable(name)
    notes = [] if asked["train"] else [f"no {name}-train-kilt.jsonl: the train split is empty"]
    splits = {split: _split(split, questions, qrels, notes) for split, questions in asked.items()}
    if unmet:
        total = sum(map(len, gold.values()))
        notes.append(f"{len(unmet)} of {total} provenances overlap no passage (page missing, or its title alone)")
    assembly.need_test(splits["test"], notes, dev)
    return Dataset(f"kilt-{name}", corpus, dev=Split("dev"), **splits, card=_card(name, settings, notes))


class Question(NamedTuple):
    """A line of a file of questions; `spans` are (wikipedia_id, span)."""

    query: Query
    spans: tuple[tuple[str, Span], ...]
    place: checks.Place


def read_questions(path: Path) -> list[Question]:
    """Read a KILT file: one object a line with `id`, `input` and `output`, whose provenances name pages and paragraphs.

    Answers and provenances may stand in outputs of their own, as they do for TriviaQA. A provenance without paragraphs
    means the whole page.

    Raises:
        DataError: a line is malformed, or has no `input` (TriviaQA's files come without).
    """
    return [_question(record, place) for place, record in checks.records(path)]


def cut(paragraphs: Iterable[tuple[int, str]], max_words: int) -> Iterator[list[Word]]:
    """Group whole sentences of numbered paragraphs into runs of at most `max_words` words.

    The marks `Section::::` and `BULLET::::-` are removed; a longer sentence is cut between words.
    """
    run: list[Word] = []
    for sentence in (s for number, text in paragraphs for s in _sentences(number, text)):
        for start in range(0, len(sentence), max_words):
            words = sentence[start : start + max_words]
            if len(run) + len(words) > max_words:
                yield run
                run = []
            run = run + words
    if run:
        yield run


def _chosen(given: str) -> tuple[Path, str]:
    """Find the folder and the name of the set of questions."""
    parent, name = paths.find(str(Path(given).parent)), Path(given).name
    if not checks.exists(paths.find(given)) and checks.exists(parent / f"{name}{_DEV}"):
        return parent, name
    folder = published.folder(given, _LAYOUT)
    found = sorted(file.name.removesuffix(_DEV) for file in folder.glob(f"*{_DEV}"))
    if len(found) > 1:
        known = [f"kilt:{given.rstrip('/')}/{name}" for name in found]
        raise UnknownNameError.of("one set of questions", f"kilt:{given} with {len(found)}", known)
    if not found and (without := sorted(folder.glob("*-dev_id-kilt.jsonl"))):
        raise _without_questions(without[0], None)
    return folder, found[0] if found else "nq"


def _without_questions(file: Path, line: int | None) -> DataError:
    got = "a file without the questions: KILT may not publish those of TriviaQA"
    fix = "run get_triviaqa_input.py of the KILT repository, which takes them from TriviaQA's own files"
    return DataError("questions under 'input'", got, fix, file=file, line=line)


def _question(record: Mapping[str, Any], place: checks.Place) -> Question:
    if record.get("input") is None:
        raise _without_questions(*place)
    qid = checks.plain_id(checks.string(record, "id", place), "an id", place)
    answers: list[str] = []
    spans: list[tuple[str, Span]] = []
    for output in _objects(record, "output", place):
        answers.append(checks.string(output, "answer", place, ""))
        spans += [_span(each, place) for each in _objects(output, "provenance", place)]
    given = tuple(dict.fromkeys(answer for answer in answers if answer))
    return Question(Query(qid, checks.string(record, "input", place), given), tuple(dict.fromkeys(spans)), place)


def _span(record: Mapping[str, Any], place: checks.Place) -> tuple[str, Span]:
    first = _number(record, "start_paragraph_id", place, 0)
    last = _number(record, "end_paragraph_id", place, _END if record.get("start_paragraph_id") is None else first)
    start = (first, _number(record, "start_character", place, 0))
    end = (last, _number(record, "end_character", place, _END))
    return _page_id(record, place), Span(start, end)


def _gold(asked: Mapping[str, list[Question]]) -> Gold:
    gold: dict[str, dict[Span, list[Key]]] = defaultdict(lambda: defaultdict(list))
    for split, questions in asked.items():
        for question in questions:
            for page, span in question.spans:
                gold[page][span].append((split, question.query.qid))
    return gold


def _passages(
    source: Path, max_words: int, gold: Gold, qrels: Qrels, unmet: set[tuple[str, Span]]
) -> Iterator[Passage]:
    """Stream the passages; on the way `qrels` is filled and `unmet` loses every span that a passage overlaps."""
    for place, record in checks.records(source):
        page, title = _page_id(record, place), checks.string(record, "wikipedia_title", place)
        for number, words in enumerate(cut(_paragraphs(record, title, place), max_words)):
            docid = f"{page}.{number}"
            for span, questions in gold.get(page, {}).items():
                if any(word.within(span) for word in words):
                    unmet.discard((page, span))
                    for question in questions:
                        qrels[question][docid] = 1
            yield Passage(docid, title, " ".join(word.text for word in words), page)


def _paragraphs(record: Mapping[str, Any], title: str, place: checks.Place) -> list[tuple[int, str]]:
    """Number the paragraphs; the first, where it is the title alone, is left out."""
    texts = record.get("text")
    if not isinstance(texts, list):
        raise place.error("'text' to be a list of paragraphs", checks.shown(texts), "check the file")
    found = [checks.string({"text": text}, "text", place) for text in texts]
    return list(enumerate(found))[1 if found and found[0].strip() == title.strip() else 0 :]


def _sentences(number: int, text: str) -> Iterator[list[Word]]:
    words = _WORD.finditer(text)
    for sentence in chunking.sentences(text):
        found = [next(words) for _ in sentence.split()]
        kept = ((match[0].removeprefix(_HEADING), match) for match in found if match[0] != _BULLET)
        yield [Word(bare, number, match.start(), match.end()) for bare, match in kept if bare]


def _split(name: str, questions: list[Question], qrels: Qrels, notes: list[str]) -> Split:
    asked = (assembly.Asked(query, qrels.get((name, query.qid), {}), place) for query, _, place in questions)
    return assembly.split(name, asked, notes)


def _objects(record: Mapping[str, Any], key: str, place: checks.Place) -> list[dict[str, Any]]:
    found = record.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise place.error(f"{key!r} to be a list of objects", checks.shown(found), "check the file")
    return found


def _number(record: Mapping[str, Any], key: str, place: checks.Place, default: int) -> int:
    found = record.get(key)
    if found is None:
        return default
    if not isinstance(found, int) or isinstance(found, bool):
        raise place.error(f"{key!r} to be an integer", checks.shown(found), "check the file")
    return found


def _page_id(record: Mapping[str, Any], place: checks.Place) -> str:
    found = record.get("wikipedia_id")
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return checks.plain_id(checks.string(record, "wikipedia_id", place), "a wikipedia_id", place)


def _card(name: str, settings: DatasetSettings, notes: list[str]) -> dict[str, Any]:
    return {
        "source": f"{SOURCE} (Wikipedia of 1 August 2019) and the questions {name} of the KILT benchmark",
        "licence": "CC BY-SA (Wikipedia); the questions are under the licence of their own set",
        "description": f"The questions {name} of KILT over its knowledge source, as passages",
        "protocol": {
            "chunking": (
                f"whole sentences of one page, at most {settings.kilt_passage_words} words a passage; longer sentences "
                "are cut between words; the title's own paragraph and the marks of headings and lists are left out"
            ),
            "split_rule": f"train as given; test is {name}{_DEV}, as KILT does not publish the answers of its test set",
            "judgements": "grade 1 for every passage that overlaps a provenance of an answer",
        },
        "notes": notes,
    }
