"""Hostile sets in BEIR layout, judgements of TREC too: each is loaded whole or refused with one clear message."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from tests.property.hostile import (
    EXAMPLES,
    IDS,
    NASTY,
    SMALL_SET,
    TEXTS,
    damaged,
    fuzz,
    lines,
    mostly,
    objects,
    place,
    put,
    try_to_load,
    unchanged,
    written,
)

HEADER = "query-id\tcorpus-id\tscore"
GRADES = st.sampled_from(
    ["1", "0", "2", "-1", "1.0", "1e3", "NaN", "01", " 1", "1_0", "２", "9" * 9, "9" * 5000, str(2**31), "", "x"]
)
ANY_ID = mostly(IDS, TEXTS, 60)
TEXT = written(mostly(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), TEXTS, 8))

PASSAGE = objects({"_id": written(ANY_ID), "title": TEXT, "text": TEXT, "document": written(ANY_ID)})
ANSWERS = written(st.fixed_dictionaries({"answers": st.lists(st.text(max_size=5), max_size=2)}) | st.none())
QUERY = objects({"_id": written(ANY_ID), "text": TEXT, "metadata": ANSWERS})
GRADE = mostly(st.sampled_from(["1", "0", "2"]), GRADES, 30)
BEIR_ROW = st.tuples(ANY_ID, ANY_ID, GRADE).map("\t".join)
TREC_ROW = st.tuples(ANY_ID, mostly(st.just("0"), TEXTS), ANY_ID, GRADE).map(" ".join)
BEIR_QRELS = st.tuples(
    mostly(st.just(HEADER), st.sampled_from([*NASTY, HEADER.replace("\t", " ")]), 20), lines(BEIR_ROW, 1, 8)
).map(lambda t: t[0].encode("utf-8", "surrogatepass") + b"\n" + t[1])
QRELS = BEIR_QRELS | lines(TREC_ROW, 1, 6)


def known_ids(names: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """Passages or queries that judgements may well be of, before those that may be anything."""
    ids = st.sampled_from(names)
    rows = st.lists(objects({"_id": written(ids), "text": TEXT}), min_size=1, max_size=4, unique=True)
    return rows.map(lambda found: "".join(f"{row}\n" for row in found).encode())


SETS = st.fixed_dictionaries(
    {
        "corpus.jsonl": known_ids(("d1", "d2", "d3", "1")) | lines(PASSAGE, 1),
        "queries.jsonl": known_ids(("q1", "q2", "1")) | lines(QUERY, 1),
        "qrels/test.tsv": QRELS,
    },
    optional={"qrels/train.tsv": QRELS, "qrels/dev.trec": lines(TREC_ROW), "card.json": lines(QUERY)},
)
"""Sets whose values are anything."""


@st.composite
def sound_sets(draw: st.DrawFn) -> Mapping[str, bytes]:
    """Sets whose ids fit together; titles, texts and grades are anything."""
    docids = draw(st.lists(mostly(IDS, TEXTS, 20), min_size=1, max_size=4, unique=True))
    qids = draw(st.lists(mostly(IDS, TEXTS, 20), min_size=1, max_size=3, unique=True))
    passages = [draw(objects({"_id": written(st.just(d)), "title": TEXT, "text": TEXT})) for d in docids]
    queries = [draw(objects({"_id": written(st.just(q)), "text": TEXT, "metadata": ANSWERS})) for q in qids]
    rows = [f"{q}\t{draw(st.sampled_from(docids))}\t{draw(GRADE)}" for q in qids]
    return {
        name: "\n".join(content).encode("utf-8", "surrogatepass")
        for name, content in {
            "corpus.jsonl": passages,
            "queries.jsonl": queries,
            "qrels/test.tsv": [HEADER, *rows],
        }.items()
    }


@st.composite
def damaged_sets(draw: st.DrawFn) -> Mapping[str, bytes]:
    hurt = draw(st.sampled_from(sorted(SMALL_SET)))
    return {name: draw(damaged(raw)) if name == hurt else raw for name, raw in SMALL_SET.items()}


def check(content: Mapping[str, bytes]) -> str:
    with place() as folder:
        put(folder, content)
        return unchanged(folder, lambda: try_to_load(f"beir:{folder}"))


def test_any_values_are_loaded_or_refused() -> None:
    seen = fuzz("beir values", sound_sets() | SETS, check)
    assert seen["loaded"] and seen["refused"]


def test_any_damage_is_loaded_or_refused() -> None:
    seen = fuzz("beir bytes", damaged_sets(), check)
    assert seen["loaded"] and seen["refused"]


def test_the_hostile_profile_tries_ten_thousand_examples() -> None:
    assert sum(EXAMPLES.values()) >= 10_000
