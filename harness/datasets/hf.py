"""Read a dataset through the library `datasets`, from the Hugging Face hub or a folder; tables and columns are named.

Two shapes, told apart by whether `tables` has a corpus:

[datasets."hf:mteb/scifact@REVISION"]           three kinds of tables: passages, queries, judgements
tables = { corpus = "corpus/corpus", queries = "queries/queries", train = "default/train", test = "default/test" }
[datasets."hf:rajpurkar/squad"]                 each row is a question with the passage that answers it
tables = { train = "train", test = "validation" }
columns = { text = "context", query = "question", answers = "answers.text" }

A table is `SPLIT`, `CONFIG/SPLIT`, or `NAME:CONFIG/SPLIT` of another dataset. Columns that are not named have the
names of `COLUMNS` or `ROW_COLUMNS`; a dot reaches into an object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import assembly
from harness.datasets.hub import Row, Table, rows
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import ConfigError
from harness.types import Corpus, Dataset, Passage, Query, Split

COLUMNS: Mapping[str, str] = {
    "docid": "_id",
    "title": "title",
    "text": "text",
    "qid": "_id",
    "query": "text",
    "judged_qid": "query-id",
    "judged_docid": "corpus-id",
    "grade": "score",
}
"""Columns of three kinds of tables where none are named: those of BEIR and MTEB on the hub."""
ROW_COLUMNS: Mapping[str, str] = {
    "title": "title",
    "text": "context",
    "qid": "id",
    "query": "question",
    "answers": "answers.text",
}
"""Columns of rows that hold a question and its passage, where none are named: those of SQuAD on the hub."""
_SPLITS = ("train", "dev", "test")
_PASSAGE = ("docid", "title", "text", "document")
_QUERY = ("qid", "query", "answers")
_JUDGEMENT = ("judged_qid", "judged_docid", "grade")


class Plan(NamedTuple):
    """Which tables and columns are read; `named` are the columns that the settings name, which must be there."""

    tables: Mapping[str, Table]
    columns: Mapping[str, str]
    named: frozenset[str]

    @classmethod
    def of(cls, given: str, settings: DatasetSettings) -> Plan:
        """Read the settings of `hf:given`.

        Raises:
            ConfigError: they name no test table, or one of corpus and queries without the other.
        """
        tables: dict[str, str] = dict((settings.tables or {}).items())
        if "test" not in tables or ("corpus" in tables) != ("queries" in tables):
            got = f"tables for {', '.join(tables)}" if tables else "no tables"
            fix = 'write tables = { test = "SPLIT", … } in its settings, with corpus and queries where they are apart'
            raise ConfigError(f"tables that say where hf:{given} has what", got, fix)
        usual = COLUMNS if "corpus" in tables else ROW_COLUMNS
        named: dict[str, str] = dict((settings.columns or {}).items())
        found = {part: Table.of(written, given) for part, written in tables.items()}
        return cls(found, {**usual, **named}, frozenset(named))

    def rows(self, part: str, keys: tuple[str, ...], needed: frozenset[str]) -> Iterator[Row]:
        """Yield the rows of a table with the columns `keys` that it has; `needed` and named ones must be there."""
        columns = {key: self.columns[key] for key in keys if key in self.columns}
        return rows(self.tables[part], columns, needed | self.named.intersection(columns))


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read the dataset `given`, a name on the hub (with @REVISION) or a folder, as `tables` and `columns` say.

    Raises:
        ConfigError: the settings name no test table, or a table or column that is not there.
        OfflineError: it is not on this machine and the hub cannot be reached.
        DependencyError: the library is not installed.
        DataError: a value cannot be used; names table and row.
    """
    plan = Plan.of(given, settings)
    notes: list[str] = []
    corpus, splits = (_three_kinds if "corpus" in plan.tables else _question_rows)(plan, notes)
    assembly.need_unique(corpus, f"hf:{given}")
    assembly.need_test(splits["test"], notes, f"hf:{given}")
    return Dataset(given, corpus, **splits, card=_card(given, settings, plan, notes))


def _three_kinds(plan: Plan, notes: list[str]) -> tuple[Corpus, dict[str, Split]]:
    corpus = gather(_passage(row) for row in plan.rows("corpus", _PASSAGE, frozenset({"docid", "text"})))
    known = frozenset(corpus.docids)
    asked = list(plan.rows("queries", _QUERY, frozenset({"qid", "query"})))
    splits = {name: Split(name) for name in _SPLITS}
    for name in plan.tables.keys() & splits.keys():
        qrels = _qrels(name, plan, known, notes)
        found = ((row.identifier("qid"), row) for row in asked)
        queries = (assembly.Asked(_query(row, qid), qrels[qid], row.place) for qid, row in found if qid in qrels)
        splits[name] = assembly.split(name, queries, notes, qrels)
    return corpus, splits


def _qrels(name: str, plan: Plan, known: frozenset[str], notes: list[str]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    lost = 0
    for row in plan.rows(name, _JUDGEMENT, frozenset({"judged_qid", "judged_docid"})):
        docid = row.identifier("judged_docid")
        judged = qrels[row.identifier("judged_qid")]
        if docid in known:
            assembly.judge(judged, docid, _grade(row))
        else:
            lost += 1
    if lost:
        notes.append(f"{name}: {lost} judgements of passages that the corpus lacks left out")
    return qrels


def _question_rows(plan: Plan, notes: list[str]) -> tuple[Corpus, dict[str, Split]]:
    """Read rows of questions; equal passages (same title and text, or same docid) are one."""
    asked: dict[str, list[assembly.Asked]] = {name: [] for name in _SPLITS}

    def passages() -> Iterator[Passage]:
        first: dict[str, str] = {}
        for split in (name for name in _SPLITS if name in plan.tables):
            for row in plan.rows(split, (*_PASSAGE, *_QUERY), frozenset({"query", "text"})):
                digest = sha256(f"{row.text('title', '')}\0{row.text('text')}".encode()).hexdigest()[:16]
                docid = row.identifier("docid") if "docid" in row.values else digest
                qid = row.identifier("qid") if "qid" in row.values else f"{split}-{row.place.line}"
                asked[split].append(assembly.Asked(_query(row, qid), {docid: 1}, row.place))
                if docid not in first:
                    yield _passage(row, docid)
                elif first[docid] != digest:
                    got = f"{docid!r} with another title or text"
                    raise row.place.error("one passage for a docid", got, "leave columns.docid out")
                first[docid] = digest

    corpus = gather(passages())
    return corpus, {name: assembly.split(name, asked[name], notes) for name in _SPLITS}


def _passage(row: Row, docid: str = "") -> Passage:
    docid = docid or row.identifier("docid")
    document = row.identifier("document") if "document" in row.values else docid
    return Passage(docid, row.text("title", ""), row.text("text"), document)


def _query(row: Row, qid: str) -> Query:
    return Query(qid, row.text("query"), row.texts("answers"))


def _grade(row: Row) -> int:
    """Read a grade; without such a column it is 1."""
    grade = row.values.get("grade", 1)
    known = isinstance(grade, int | float) and not isinstance(grade, bool) and abs(grade) < 2**31
    if not known or grade != int(grade):
        raise row.place.error("a grade that is an integer", repr(grade), "name another column with columns.grade")
    return int(grade)


def _card(given: str, settings: DatasetSettings, plan: Plan, notes: list[str]) -> dict[str, Any]:
    tables = ", ".join(f"{part} from {written}" for part, written in (settings.tables or {}).items())
    columns = ", ".join(f"{ours} from {theirs}" for ours, theirs in sorted(plan.columns.items()))
    name, _, revision = given.partition("@")
    where = f"the folder {Path(name).name}" if Path(name).is_absolute() else name
    pinned = f"revision {revision}" if revision else "no revision named"
    return {
        "source": f"{where} through the library datasets, {pinned}",
        "licence": "that of the dataset; see its page on the hub",
        "description": f"{where}, a dataset of the Hugging Face hub or in its format",
        "protocol": {
            "split_rule": f"tables: {tables}",
            "judgements": f"columns: {columns}; relevant from grade 1; of several grades the largest",
        },
        "notes": notes,
    }
