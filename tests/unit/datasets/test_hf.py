"""Datasets of the library `datasets`, from folders the test writes; the hub is never asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import ConfigError, DataError, DependencyError, OfflineError
from harness.types import Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses

datasets = pytest.importorskip("datasets", reason="the library datasets is not installed (extra hf)")
pytestmark = pytest.mark.filterwarnings("default")

CORPUS = [{"_id": f"d{n}", "title": f"Title {n}", "text": f"Text {n}."} for n in range(12)]
QUERIES = [{"_id": n, "text": f"text {n}?"} for n in range(13)]
TEST = [{"query-id": str(n), "corpus-id": f"d{n}", "score": 1.0} for n in range(12)]
TRAIN = [{"query-id": "12", "corpus-id": "d3", "score": 2}]
TABLES = {"corpus": "corpus", "queries": "queries", "train": "train", "test": "test"}
ROWS = {"train": "train", "test": "validation"}


@pytest.fixture(autouse=True)
def _quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    datasets.disable_progress_bars()


def saved(folder: Path, **tables: list[dict[str, Any]]) -> str:
    """Write a dataset with a split for each table, as save_to_disk does."""
    made = {name: datasets.Dataset.from_list(rows) for name, rows in tables.items()}
    datasets.DatasetDict(made).save_to_disk(str(folder))
    return f"hf:{folder}"


def three(folder: Path, **changed: list[dict[str, Any]]) -> str:
    return saved(folder, **{"corpus": CORPUS, "queries": QUERIES, "train": TRAIN, "test": TEST, **changed})


def settings(tables: dict[str, str], **columns: str) -> DatasetSettings:
    return DatasetSettings.model_validate({"tables": tables, "columns": columns or None})


def squad(number: int, passage: int) -> dict[str, Any]:
    answers = {"text": [f"answer {number}", f"answer {number}"], "answer_start": [0, 0]}
    return {
        "id": f"s{number}",
        "title": f"Page {passage}",
        "context": f"Context {passage}.",
        "question": f"question {number}?",
        "answers": answers,
    }


def test_golden_of_three_kinds_of_tables(tmp_path: Path) -> None:
    dataset = load(three(tmp_path / "set"), settings(TABLES))
    assert passages(dataset) == (
        12,
        Passage("d0", "Title 0", "Text 0.", "d0"),
        Passage("d9", "Title 9", "Text 9.", "d9"),
        Passage("d11", "Title 11", "Text 11.", "d11"),
    )
    # The ids of the queries are numbers in one table and texts in another.
    assert asked(dataset.test) == (12, Query("0", "text 0?"), Query("9", "text 9?"), Query("11", "text 11?"))
    assert dataset.train.qrels == {"12": {"d3": 2}}
    assert dataset.test.qrels["9"] == {"d9": 1}
    assert len(dataset.dev) == 0
    assert dataset.card["protocol"]["split_rule"] == (
        "tables: corpus from corpus, queries from queries, train from train, test from test"
    )
    assert str(tmp_path) not in json.dumps(dict(dataset.card)["source"])


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found nothing.py"), DataError),
        (NotImplementedError("Loading a streaming dataset cached in a folder"), DataError),
        (datasets.exceptions.NonMatchingSplitsSizesError("[{'expected': 3}]"), DataError),
        (datasets.exceptions.DatasetGenerationError("An error occurred"), DataError),
        (datasets.exceptions.DatasetNotFoundError("doesn't exist on the Hub"), OfflineError),
    ],
)
def test_whatever_the_library_raises_is_refused(
    raised: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", raising)
    with pytest.raises(kind) as caught:
        load("hf:nobody/nothing", settings(ROWS))
    assert type(caught.value) is kind
    assert str(raised) in caught.value.got


def test_golden_of_rows_with_question_and_passage(tmp_path: Path) -> None:
    folder = tmp_path / "squad"
    folder.mkdir()
    for split, rows in {
        "train": [squad(n, n // 2) for n in range(20)],
        "validation": [squad(n, n - 10) for n in range(20, 31)],
    }.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dataset = load(f"hf:{folder}", settings(ROWS))
    # Passages 0 to 9 are asked about twice in train; 10 to 20 in the test split.
    assert len(dataset.corpus) == 21
    assert [(p.title, p.text) for p in (dataset.corpus[0], dataset.corpus[9], dataset.corpus[20])] == [
        ("Page 0", "Context 0."),
        ("Page 9", "Context 9."),
        ("Page 20", "Context 20."),
    ]
    assert asked(dataset.test) == (
        11,
        Query("s20", "question 20?", ("answer 20",)),
        Query("s29", "question 29?", ("answer 29",)),
        Query("s30", "question 30?", ("answer 30",)),
    )
    assert dataset.train.qrels["s18"] == dataset.train.qrels["s19"] == {dataset.corpus[9].docid: 1}
    assert dataset.test.qrels["s20"] == {dataset.corpus[10].docid: 1}


def test_columns_of_other_names(tmp_path: Path) -> None:
    rows = [{"q": "why", "p": "Because.", "a": "so", "n": 7, "page": "home"}]
    name = saved(tmp_path / "set", only=rows)
    chosen = settings({"test": "only"}, query="q", text="p", answers="a", docid="n", document="page")
    dataset = load(name, chosen)
    assert list(dataset.corpus) == [Passage("7", "", "Because.", "home")]
    assert dataset.test.queries == (Query("test-1", "why", ("so",)),)
    assert "query from q" in dataset.card["protocol"]["judgements"]


def test_a_folder_saved_without_splits(tmp_path: Path) -> None:
    datasets.Dataset.from_list([squad(1, 1)]).save_to_disk(str(tmp_path / "set"))
    assert len(load(f"hf:{tmp_path / 'set'}", settings({"test": "anything"})).test) == 1


def test_a_folder_saved_from_one_split_is_no_other(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([squad(1, 1)], split="train")
    rows.save_to_disk(str(tmp_path / "set"))
    name = f"hf:{tmp_path / 'set'}"
    assert len(load(name, settings({"test": "train"})).test) == 1
    assert refuses(name, ConfigError, settings({"train": "train", "test": "test"})).fix == "use one of: train"


def test_a_dot_reaches_into_objects_alone(tmp_path: Path) -> None:
    rows = [{**squad(1, 1), "answers": ["a"]}]
    listed = saved(tmp_path / "listed", test=rows)
    assert refuses(listed, DataError, settings({"test": "test"})).expected == "an object with 'text' in 'answers'"
    assert load(listed, settings({"test": "test"}, answers="answers")).test.queries[0].answers == ("a",)
    slip = refuses(
        saved(tmp_path / "slip", test=[squad(1, 1)]), DataError, settings({"test": "test"}, answers="answers.txt")
    )
    assert "'text'" in slip.got and "'answer_start'" in slip.got
    empty = [squad(1, 1), {**squad(2, 2), "answers": None}]
    found = load(saved(tmp_path / "empty", test=empty), settings({"test": "test"})).test.queries
    assert [query.answers for query in found] == [("answer 1",), ()]


def test_a_folder_among_the_readers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine" / "squad"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text(json.dumps(squad(1, 1)) + "\n")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "mine"))
    assert load("hf:squad", settings({"test": "test"})).test.queries[0].qid == "s1"


def test_a_table_of_another_dataset(tmp_path: Path) -> None:
    three(tmp_path / "set")
    other = saved(tmp_path / "judged", test=TEST[:1]).removeprefix("hf:")
    dataset = load(f"hf:{tmp_path / 'set'}", settings({**TABLES, "test": f"{other}:test"}))
    assert len(dataset.test) == 1


def test_judgements_of_unknown_passages_and_queries_without_any(tmp_path: Path) -> None:
    test = [*TEST, {"query-id": "12", "corpus-id": "gone", "score": 1.0}]
    dataset = load(three(tmp_path / "set", test=test), settings(TABLES))
    assert dataset.card["notes"] == [
        "test: 1 judgements of passages that the corpus lacks left out",
        "test: 1 of 13 queries left out (no relevant passage)",
    ]


def test_judgements_of_queries_that_are_not_there_are_counted_and_the_largest_grade_counts(tmp_path: Path) -> None:
    train = [
        *TRAIN,
        {"query-id": "12", "corpus-id": "d3", "score": 0},
        {"query-id": "else", "corpus-id": "d1", "score": 1},
    ]
    dataset = load(three(tmp_path / "set", train=train), settings(TABLES))
    assert dataset.card["notes"] == ["train: judgements of 1 queries that are not there left out"]
    assert dataset.train.qrels == {"12": {"d3": 2}}


def test_offline(tmp_path: Path) -> None:
    error = refuses("hf:nobody/nothing@v1", OfflineError, settings(ROWS))
    assert "fetched once from the Hugging Face hub" in error.expected
    assert "save_to_disk" in error.fix


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    name = three(tmp_path / "set")
    assert refuses(name, ConfigError).got == "no tables"
    assert refuses(name, ConfigError, settings({"train": "train"})).got == "tables for train"
    assert refuses(name, ConfigError, settings({"test": "test", "corpus": "corpus"})).got == "tables for test, corpus"
    assert "use one of: corpus" in refuses(name, ConfigError, settings({**TABLES, "test": "dev"})).fix
    missing = refuses(name, ConfigError, settings(TABLES, text="body"))
    assert "no column 'body'" in missing.got
    assert 'columns = { text = "…" }' in missing.fix
    assert "no column 'heading'" in refuses(name, ConfigError, settings(TABLES, title="heading")).got
    folder = tmp_path / "lines"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps(squad(1, 1)) + "\n")
    assert "Unknown split" in refuses(f"hf:{folder}", ConfigError, settings({"test": "test"})).got
    assert "nope" in refuses(f"hf:{folder}", ConfigError, settings({"test": "nope/train"})).got


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "blank in docid": ("corpus", {"_id": "d 1", "title": "", "text": "x"}, "'d 1'"),
    "no text": ("corpus", {"_id": "x", "title": "", "text": None}, "'text': null"),
    "NUL": ("corpus", {"_id": "x", "title": "", "text": "a\0"}, "NUL"),
    "grade": ("test", {"query-id": "1", "corpus-id": "d1", "score": 0.5}, "0.5"),
    "no grade": ("test", {"query-id": "1", "corpus-id": "d1", "score": None}, "None"),
    "qid twice": ("queries", {"_id": 0, "text": "x"}, "first used in line 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_row(case: str, tmp_path: Path) -> None:
    table, row, got = BAD[case]
    good = {"corpus": CORPUS, "queries": QUERIES, "test": TEST}[table]
    error = refuses(three(tmp_path / "set", **{table: [good[0], row, *good[2:]]}), DataError, settings(TABLES))
    assert got in error.got
    assert error.line == 2
    assert str(error.file).endswith(f"/{table}")


def test_one_docid_for_two_passages_and_answers_of_another_kind(tmp_path: Path) -> None:
    rows = [{**squad(1, 1), "n": 1}, {**squad(2, 2), "n": 1}]
    chosen = settings({"test": "test"}, docid="n")
    assert "another title or text" in refuses(saved(tmp_path / "a", test=rows), DataError, chosen).got
    chosen = settings({"test": "test"}, answers="answers.answer_start")
    assert refuses(saved(tmp_path / "b", test=rows), DataError, chosen).got == "a list"


def test_a_damaged_file(tmp_path: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    (folder / "test.jsonl").write_text('{"question": "x", "context"\n')
    assert refuses(f"hf:{folder}", DataError, settings({"test": "test"})).expected == "a table that can be read"


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "[hf]" in refuses("hf:me/mine", DependencyError, settings(ROWS)).fix
