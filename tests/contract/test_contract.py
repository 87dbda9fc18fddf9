"""What every registered system must do, whatever it is inside: one suite, run on all of them."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness import registry
from harness.errors import ConfigError
from harness.ranking import validate
from harness.retriever import Footprint, Retriever, System
from harness.types import Corpus, Hit, Passage, Query, Split
from harness.validation import validated

QUICKLY: dict[str, Any] = {"training": {"tokens": 600}, "dtype": "float32"}
BRIEFLY: dict[str, Any] = {"epochs": 1, "batch_size": 2, "dtype": "float32"}
FAST: dict[str, dict[str, Any]] = {
    "dsi": QUICKLY,
    "dense-reader": QUICKLY,
    "self-rerank": {"judge": QUICKLY},
    "self-retrieval": QUICKLY,
    # No choice on dev, which might go to the untrained model: what is tested was trained.
    "dense-finetuned": {"training": BRIEFLY, "dev_corpus": 0},
    "rerank": {"training": BRIEFLY, "dev_queries": 0},
}
"""Settings that make a system cheap enough to train in a test; its tests are marked slow all the same."""
TRAINED = {"generative", "self-retrieval"}
"""Families that train a language model in `index`; each system is indexed twice in this file, never more."""

SAME = "The mitochondrion is the powerhouse of the cell."
PASSAGES = (
    ("p01", "Apollo 11", "Apollo 11 was the first crewed mission to land on the Moon, in July 1969."),
    ("p02", "Apollo 11", "Neil Armstrong stepped onto the lunar surface six hours after landing."),
    ("p03", "Apollo 11", "Michael Collins flew the command module alone in lunar orbit."),
    ("p04", "Mitochondrion", SAME),
    ("p05", "Photosynthesis", "Plants turn light, water and carbon dioxide into sugar and oxygen."),
    ("p06", "Mitochondrion", SAME),
    ("p07", "東京", "東京は日本の首都です。 Tokyo is the capital of Japan."),
    ("p08", "Cafe\u0301 culture 🍵", "Coffee houses of Vienna serve cake and newspapers. 🚀👩‍🚀"),
    ("p09", "القاهرة", "القاهرة عاصمة مصر. Cairo is the capital of Egypt."),
    ("p-é東🚀", "Naïve Bayes", "A classifier that takes features to be independent given the class."),
    ("p11", "Photosynthesis", "Chlorophyll absorbs mostly blue and red light."),
    ("p12", "Symphony No. 9", "Beethoven's last symphony ends with a choral finale: Freude, schöner Götterfunken!"),
)
CORPUS = Corpus.from_passages(Passage(docid, title, text, title) for docid, title, text in PASSAGES)
QRELS: dict[str, tuple[str, ...]] = {
    "who landed on the moon": ("p01", "p02"),
    SAME: ("p04", "p06"),
    "how do plants make sugar from light": ("p05",),
    "東京": ("p07",),
    "القاهرة": ("p09",),
    "Cafe\u0301 culture 🍵": ("p08",),
    "Café culture": ("p08",),
    "choral symphony by Beethoven": ("p12",),
}
QUERIES = [*QRELS, "🚀", "\u202eabc\u202c", "zzz unknown words", "e\u0301\u0302\u0303"]
TEST, TRAIN, DEV = (
    Split(
        name,
        tuple(Query(f"{name}{n}", text) for n, text in enumerate(texts)),
        {f"{name}{n}": dict.fromkeys(QRELS[text], 1) for n, text in enumerate(texts)},
    )
    for name, texts in (
        ("test", list(QRELS)),
        ("train", list(QRELS)[:4]),
        ("dev", list(QRELS)[4:6]),
    )
)
FEW = [SAME, "東京 🚀 e\u0301\u0302", "zzz unknown words"]
"""For systems that read every query with a language model."""
BEYOND = len(CORPUS) + 5


def in_place(name: str) -> bool:
    """Say whether the module a system lives in is there."""
    (entry,) = metadata.entry_points(group=registry.GROUP, name=name)
    try:
        return importlib.util.find_spec(entry.module) is not None
    except ModuleNotFoundError:
        return False


def fresh(system: System) -> Retriever:
    retriever = system.build(system.config(**FAST.get(system.name, {})), 0)
    if system.sees_judgements:
        retriever.reveal(TEST)  # type: ignore[attr-defined]
    return retriever


@cache
def built(name: str, build: int = 1) -> Retriever:
    """Index the corpus; each build is made once for the whole file."""
    retriever = fresh(registry.get(name))
    retriever.index(CORPUS, TRAIN, DEV)
    return retriever


@pytest.fixture(scope="module", autouse=True)
def models_go_with_the_file() -> Iterator[None]:
    """Several gigabytes of trained models must not stay for the tests of other files."""
    yield
    built.cache_clear()
    answers.cache_clear()


def queries_of(system: System) -> list[str]:
    return FEW if system.family in TRAINED else QUERIES


@cache
def answers(name: str, k: int) -> list[list[Hit]]:
    """Search for the system's queries; each depth is searched once for the whole file."""
    return built(name).search(queries_of(registry.get(name)), k)


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.slow] if n in FAST else []) for n in registry.names()])
def system(request: pytest.FixtureRequest) -> System:
    if not in_place(request.param):
        pytest.skip(f"the module of {request.param} is not here yet")
    return registry.get(request.param)


@pytest.fixture
def retriever(system: System) -> Retriever:
    return built(system.name)


def check(lists: Sequence[Sequence[Hit]], queries: Sequence[str], k: int) -> None:
    """Order, uniqueness, membership, finite scores and length of every list."""
    assert len(lists) == len(queries)
    validate({f"query {n}": hits for n, hits in enumerate(lists)}, CORPUS.row_of, k)


def assert_same(one: Sequence[Sequence[Hit]], two: Sequence[Sequence[Hit]]) -> None:
    """Compare order exactly and scores as closely as sums in another order allow."""
    assert [[hit.docid for hit in hits] for hits in one] == [[hit.docid for hit in hits] for hits in two]
    for hits, others in zip(one, two, strict=True):
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], rel=1e-4, abs=1e-5)


def test_declaration(system: System) -> None:
    assert system.name in registry.names()
    assert system.family in {"sparse", "dense", "rerank", "generative", "self-retrieval", "bracket"}
    assert system.summary
    assert system.sees_judgements == (system.name == "oracle")
    assert isinstance(fresh(system), Retriever)


def test_unknown_settings_are_refused(system: System) -> None:
    with pytest.raises(ValidationError):
        system.config(no_such_setting=1)
    with pytest.raises(ConfigError, match="no_such_setting"):
        validated(system.config, {"no_such_setting": 1}, "a test")


@pytest.mark.parametrize("k", [1, 5, BEYOND])
def test_hits_are_ranked_unique_finite_and_of_the_corpus(system: System, k: int) -> None:
    check(answers(system.name, k), queries_of(system), k)


def test_fewer_hits_are_the_first_of_more(system: System) -> None:
    if system.family in TRAINED:
        pytest.skip("a beam search may look further for more hits")
    for few, many in zip(answers(system.name, 5), answers(system.name, BEYOND), strict=True):
        assert_same([few], [many[:5]])


def test_something_is_found(system: System) -> None:
    hits = answers(system.name, BEYOND)
    assert any(hits)
    if system.family in {"sparse", "dense", "rerank"} or system.name == "oracle":
        found = [one[0].docid in QRELS[query] for query, one in zip(QUERIES, hits, strict=True) if query in QRELS]
        assert sum(found) >= len(QRELS) - 2


def test_empty_queries_keep_their_place(retriever: Retriever) -> None:
    queries = [SAME, "", " ", "\n\t \u3000", SAME]
    hits = retriever.search(queries, 5)
    check(hits, queries, 5)
    assert_same([hits[0]], [hits[-1]])
    check(retriever.search([""], BEYOND), [""], BEYOND)


def test_no_queries(retriever: Retriever) -> None:
    assert retriever.search([], 5) == []


def found_for_same(system: System) -> dict[str, float]:
    """Score of each passage found with the text of the two identical ones, best first."""
    hits = dict(zip(queries_of(system), answers(system.name, BEYOND), strict=True))[SAME]
    return {hit.docid: hit.score for hit in hits}


def test_duplicate_passages_are_both_returned(system: System) -> None:
    score = found_for_same(system)
    assert ("p04" in score) == ("p06" in score)
    if system.family in TRAINED:
        return
    assert "p04" in score
    if system.name != "random":
        assert score["p04"] == score["p06"]


def test_ties_go_to_the_larger_docid_at_the_cut_too(system: System, retriever: Retriever) -> None:
    score = found_for_same(system)
    if score.get("p04") is None or score["p04"] != score.get("p06"):
        pytest.skip("this system does not score the two identical passages alike")
    order = list(score)
    assert order.index("p06") + 1 == order.index("p04")
    (hits,) = retriever.search([SAME], order.index("p04"))
    cut = {hit.docid for hit in hits}
    assert "p06" in cut and "p04" not in cut


def test_unicode_titles_are_found(system: System, retriever: Retriever) -> None:
    if system.family != "sparse" and system.name != "oracle":
        pytest.skip("only systems that match words must find a word")
    hits = retriever.search(["東京", "القاهرة"], 3)
    assert [one[0].docid for one in hits] == ["p07", "p09"]


def test_the_same_call_gives_the_same_hits(system: System, retriever: Retriever) -> None:
    assert_same(retriever.search(queries_of(system), 5), answers(system.name, 5))


def test_a_batch_equals_its_queries_one_by_one(system: System, retriever: Retriever) -> None:
    assert_same([retriever.search([query], 5)[0] for query in queries_of(system)], answers(system.name, 5))


def test_two_builds_with_one_seed_give_the_same_hits_and_arguments_stay(system: System) -> None:
    before = CORPUS.table.to_pylist(), copy.deepcopy((TRAIN, DEV, TEST))
    queries = list(queries_of(system))
    assert_same(built(system.name, 2).search(queries, 5), answers(system.name, 5))
    assert before == (CORPUS.table.to_pylist(), (TRAIN, DEV, TEST))
    assert queries == queries_of(system)


def test_save_and_load(system: System, retriever: Retriever, tmp_path: Path) -> None:
    retriever.save(tmp_path)
    assert any(tmp_path.iterdir())
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin"}]
    loaded = system.load(tmp_path)
    assert_same(loaded.search(queries_of(system), 5), answers(system.name, 5))
    check_footprint(system, loaded.footprint())


def test_footprint(system: System, retriever: Retriever) -> None:
    check_footprint(system, retriever.footprint())


def check_footprint(system: System, footprint: Footprint) -> None:
    assert type(footprint.index_bytes) is int and footprint.index_bytes > 0
    assert type(footprint.parameter_bytes) is int
    assert (footprint.parameter_bytes > 0) == (system.family in TRAINED | {"dense", "rerank"})


def test_a_corpus_of_one_passage(system: System) -> None:
    if system.family in TRAINED:
        pytest.skip("would be a third training run")
    one = fresh(system)
    one.index(Corpus.from_passages([Passage("p04", "Mitochondrion", SAME, "p04")]), Split("train"), Split("dev"))
    hits = one.search([SAME, "", "unrelated words"], 10)
    assert [hit.docid for hit in hits[0]] == ["p04"]
    assert all(len(some) <= 1 for some in hits)


LOAD_ALL = """
import json, sys
from pathlib import Path
from harness import registry

given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
hits = {name: registry.get(name).load(Path(folder)).search(queries, 5) for name, (folder, queries) in given.items()}
Path(sys.argv[2]).write_text(json.dumps(hits), encoding="utf-8")
"""


@pytest.mark.slow
def test_a_fresh_process_loads_every_system(tmp_path: Path) -> None:
    saved: dict[str, tuple[str, list[str]]] = {}
    for name in filter(in_place, registry.names()):
        (tmp_path / name).mkdir()
        built(name).save(tmp_path / name)
        saved[name] = str(tmp_path / name), queries_of(registry.get(name))
    (tmp_path / "given.json").write_text(json.dumps(saved), encoding="utf-8")
    run_python(LOAD_ALL, str(tmp_path / "given.json"), str(tmp_path / "hits.json"))
    loaded = json.loads((tmp_path / "hits.json").read_text(encoding="utf-8"))
    assert set(loaded) == set(saved)
    for name, lists in loaded.items():
        assert_same([[Hit(*hit) for hit in hits] for hits in lists], answers(name, 5))


IMPORT_ALL = """
import sys
from harness import registry

for name in sys.argv[1:]:
    registry.get(name).config()
heavy = {"torch", "faiss", "transformers", "sentence_transformers", "bm25s"} & set(sys.modules)
sys.exit(f"imported: {sorted(heavy)}" if heavy else 0)
"""


def test_looking_a_system_up_imports_nothing_heavy() -> None:
    run_python(IMPORT_ALL, *filter(in_place, registry.names()))


def run_python(script: str, *arguments: str) -> None:
    done: Any = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
