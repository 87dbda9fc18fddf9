"""Collections of ir_datasets, registered by the test from files on disk; nothing is fetched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Tuple  # noqa: UP035

import pytest

from harness.datasets import load
from harness.errors import DataError, DependencyError, OfflineError, UnknownNameError
from harness.types import Dataset, Passage, Query, Split
from tests.unit.datasets.golden import asked, passages, refuses

ir_datasets = pytest.importorskip("ir_datasets", reason="ir_datasets is not installed (extra irds)")


class Doc(NamedTuple):
    doc_id: str
    title: str
    text: str


class Abstract(NamedTuple):
    doc_id: str
    url: str
    abstract: str


# The library looks for this very annotation, unquoted, before it reads a last column of several values.
Asked = NamedTuple("Asked", [("query_id", str), ("text", str), ("answers", Tuple[str, ...])])  # noqa: UP006, UP014


def files(folder: Path, **content: str) -> dict[str, Any]:
    for name, text in content.items():
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return {name: ir_datasets.util.LocalDownload(folder / f"{name}.tsv") for name in content}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A registry of its own, and a home of the library that nobody else uses."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IR_DATASETS_TMP", str(tmp_path / "tmp"))
    monkeypatch.setattr(ir_datasets.registry, "_registered", dict(ir_datasets.registry._registered))
    yield ir_datasets.registry


@pytest.fixture
def tiny(registry: Any, tmp_path: Path) -> Any:
    """`tiny` with 12 documents; tiny/train, tiny/dev and tiny/test search it; tiny/val searches something else."""
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    found = files(
        tmp_path,
        docs="".join(f"d{n}\tTitle {n}\tText {n}.\n" for n in range(12)),
        test="".join(f"q{n}\ttext {n}?\tanswer {n}\tother {n}\n" for n in range(12)) + "bare\tnothing\n",
        test_qrels="".join(f"q{n} 0 d{n} 1\n" for n in range(12)) + "q0 0 d1 -1\nbare 0 d1 0\nq3 0 gone 1\n",
        train="t1\ttrain?\n",
        train_qrels="t1 0 d5 2\n",
    )
    docs = TsvDocs(found["docs"], doc_cls=Doc, namespace="tiny")

    def queries(name: str) -> tuple[Any, Any]:
        return (
            TsvQueries(found[name], query_cls=Asked, namespace="tiny"),
            TrecQrels(found[f"{name}_qrels"], {}),
        )

    registry.register("tiny", ir_datasets.Dataset(docs))
    registry.register("tiny/test", ir_datasets.Dataset(docs, *queries("test")))
    registry.register("tiny/train", ir_datasets.Dataset(docs, *queries("train")))
    registry.register("tiny/dev", ir_datasets.Dataset(docs, queries("train")[0]))
    other = TsvDocs(found["docs"], doc_cls=Doc, namespace="other")
    registry.register("tiny/val", ir_datasets.Dataset(other, *queries("train")))
    return registry


@pytest.mark.usefixtures("tiny")
def test_golden() -> None:
    dataset = load("irds:tiny/test")
    assert passages(dataset) == (
        12,
        Passage("d0", "Title 0", "Text 0.", "d0"),
        Passage("d9", "Title 9", "Text 9.", "d9"),
        Passage("d11", "Title 11", "Text 11.", "d11"),
    )
    assert asked(dataset.test) == (
        12,
        Query("q0", "text 0?", ("answer 0", "other 0")),
        Query("q9", "text 9?", ("answer 9", "other 9")),
        Query("q11", "text 11?", ("answer 11", "other 11")),
    )
    assert dataset.test.qrels["q0"] == {"d0": 1, "d1": -1}
    assert dataset.train == Split("train", (Query("t1", "train?"),), {"t1": {"d5": 2}})
    # tiny/dev has no judgements, and tiny/val searches other documents.
    assert len(dataset.dev) == 0
    assert dataset.name == "tiny/test"
    assert dataset.card["protocol"]["split_rule"] == "ids of ir_datasets: test is tiny/test, train is tiny/train"
    assert dataset.card["notes"] == [
        "test: 1 judgements of documents that the collection lacks left out",
        "test: 1 of 13 queries left out (no relevant passage)",
    ]


def test_no_id_is_its_own_sibling(tiny: Any) -> None:
    tiny.register("pair/dev", tiny["tiny/test"])
    tiny.register("pair/train", tiny["tiny/train"])
    counts = {name: [len(s) for s in (d.train, d.dev, d.test)] for name, d in loaded("tiny/train", "pair/dev").items()}
    assert counts == {"tiny/train": [0, 0, 1], "pair/dev": [1, 0, 12]}


def loaded(*names: str) -> dict[str, Dataset]:
    return {name: load(f"irds:{name}") for name in names}


def test_other_fields_stand_in_for_title_and_text(registry: Any, tmp_path: Path) -> None:
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    found = files(tmp_path, docs="a\thttp://a\tAbstract.\n", queries="q\ttext?\n", qrels="q 0 a 1\n")
    docs = TsvDocs(found["docs"], doc_cls=Abstract)
    registry.register("lone", ir_datasets.Dataset(docs, TsvQueries(found["queries"]), TrecQrels(found["qrels"], {})))
    dataset = load("irds:lone")
    assert list(dataset.corpus) == [Passage("a", "", "Abstract.", "a")]
    assert dataset.test.queries == (Query("q", "text?"),)


@pytest.mark.usefixtures("tiny")
def test_unknown_ids() -> None:
    assert "tiny/test" in refuses("irds:tiny/tset", UnknownNameError).fix
    assert "catalogue" in refuses("irds:zzzzzzzzzzzz", UnknownNameError).fix
    error = refuses("irds:tiny", UnknownNameError)
    assert (error.got, "tiny/test" in error.fix) == ("'tiny' without queries", True)


@pytest.mark.parametrize(
    ("docs", "queries", "got", "file"),
    [
        ("a b\tT\tx\n", "q\tx\n", "'a b'", "irds:bad/docs"),
        ("a\tT\tx\n", "q 1\tx\n", "'q 1'", "irds:bad/queries"),
        ("a\tT\tx\na\tT\ty\n", "q\tx\n", "'a' 2 times", "irds:bad"),
    ],
)
def test_bad_records(  # noqa: PLR0917
    registry: Any, tmp_path: Path, docs: str, queries: str, got: str, file: str
) -> None:
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    found = files(tmp_path, docs=docs, queries=queries, qrels="q 0 a 1\n")
    parts = (TsvDocs(found["docs"], doc_cls=Doc), TsvQueries(found["queries"]), TrecQrels(found["qrels"], {}))
    registry.register("bad", ir_datasets.Dataset(*parts))
    error = refuses("irds:bad", DataError)
    assert got in error.got
    assert str(error.file) == file


def test_a_file_the_library_cannot_read(registry: Any, tmp_path: Path) -> None:
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    found = files(tmp_path, docs="a\tT\n", queries="q\tx\n", qrels="q 0 a 1\n")
    parts = (TsvDocs(found["docs"], doc_cls=Doc), TsvQueries(found["queries"]), TrecQrels(found["qrels"], {}))
    registry.register("torn", ir_datasets.Dataset(*parts))
    error = refuses("irds:torn", DataError)
    assert not isinstance(error, OfflineError)
    assert "expected 3 fields, got 2" in error.got


def test_no_network(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def unreachable(*args: Any, **kwargs: Any) -> Any:
        raise requests.exceptions.ConnectionError("name resolution failed")

    monkeypatch.setattr(requests, "get", unreachable)
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    far = ir_datasets.util.Download([ir_datasets.util.RequestsDownload("https://nowhere.invalid/x")], tmp_path / "x")
    registry.register("far", ir_datasets.Dataset(TsvDocs(far), TsvQueries(far), TrecQrels(far, {})))
    two = ir_datasets.util.Download([*far.mirrors, *far.mirrors], tmp_path / "x")
    registry.register("two", ir_datasets.Dataset(TsvDocs(two), TsvQueries(two), TrecQrels(two, {})))
    for name in ("far", "two"):
        error = refuses(f"irds:{name}", OfflineError)
        assert "fetches once from its publisher" in error.expected
        assert "IR_DATASETS_HOME" in error.fix
        assert not (tmp_path / "x").exists()


def test_the_library_or_a_part_of_it_is_missing(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(ir_datasets.formats.TsvDocs):  # type: ignore[misc]
        def docs_iter(self) -> Any:
            raise ImportError("This dataset requires beautifulsoup4")

    found = files(tmp_path, docs="", queries="", qrels="")
    parts = (ir_datasets.formats.TsvQueries(found["queries"]), ir_datasets.formats.TrecQrels(found["qrels"], {}))
    registry.register("needy", ir_datasets.Dataset(Needy(found["docs"]), *parts))
    assert "beautifulsoup4" in refuses("irds:needy", DependencyError).got
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    assert "[irds]" in refuses("irds:needy", DependencyError).fix
