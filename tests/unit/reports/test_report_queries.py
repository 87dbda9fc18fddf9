"""Query by query: who won where, counted by hand; and islands that carry it into the page without harm."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from harness.errors import DataError, RunFolderError
from harness.types import Corpus, Passage, Query
from reports import islands, queries
from reports.load import load
from reports.queries import Column, Ledger
from tests.unit.reports.sample_run import write_sample


def ledger_of(*columns, gold=(("d0",), ("d1", "d2"), ()), corpus=True, text="text"):
    asked = tuple(Query(f"q{i}", f"query {i}") for i in range(len(gold)))
    passages = Corpus.from_passages([Passage(f"d{i}", f"Title {i}", f"{text} {i}", "") for i in range(9)])
    return Ledger("RR@5", asked, gold, columns, passages if corpus else None)


ONE = Column("one", "sparse", (1.0, 0.5, 0.0), ("d0", "d5", None))
OTHER = Column("other", "dense", (0.2, 0.5, 1.0), ("d5", "d2", "d7"))


def read(island, name="one"):
    data = json.loads(island.json)
    (system,) = [s for s in data["systems"] if s["name"] == name]
    n = len(data["qids"])
    values = struct.unpack(f"<{n}H", base64.b64decode(system["values"]))
    return data, values, struct.unpack(f"<{n}I", base64.b64decode(system["hits"]))


def test_wins_ties_and_losses_by_hand():
    found = queries.duel(ledger_of(ONE, OTHER), ONE, OTHER)
    assert found[:3] == (1, 1, 1)
    assert found.difference == pytest.approx((0.8 + 0.0 - 1.0) / 3)


def test_a_query_only_one_of_them_has_counts_for_neither():
    partial = Column("other", "dense", (0.2, None, None), (None,) * 3)
    assert queries.duel(ledger_of(ONE, partial), ONE, partial) == (1, 0, 0, 0.8)
    none = Column("other", "dense", (None, None, None), (None,) * 3)
    assert queries.duel(ledger_of(ONE, none), ONE, none) is None


def test_equal_on_paper_is_a_tie():
    sum_of_thirds = Column("other", "dense", (0.1 + 0.2, 0.5, 0.0), (None,) * 3)
    exact = Column("one", "sparse", (0.3, 0.5, 0.0), (None,) * 3)
    assert queries.duel(ledger_of(exact, sum_of_thirds), exact, sum_of_thirds)[:3] == (0, 3, 0)


def test_values_above_one_keep_their_order():
    large = Column("one", "sparse", (70.0, 35.0, 0.0), (None,) * 3)
    held = ledger_of(large, OTHER)
    assert held.scale == 70.0
    assert held.codes["one"] == [queries.STEPS, queries.STEPS // 2, 0]


def test_island_names_passages_by_row_relevant_ones_first():
    data, values, hits = read(islands.fit([ledger_of(ONE, OTHER)], 100_000)[0])
    assert values == (queries.STEPS, queries.STEPS // 2, 0)
    # d0 is relevant and a first hit; d2 likewise; d1 is relevant alone; d5 is first twice and relevant nowhere.
    assert data["docids"] == ["d0", "d2", "d1", "d5", "d7"]
    assert data["titles"][3] == "Title 5"
    assert data["gold"] == [[0], [2, 1], []]
    assert hits == (2 * 0 + 2 + 1, 2 * 3 + 2 + 0, 0)
    assert data["first"] == ["one", "other"]
    assert data["measure"] == "MRR@5"


def test_of_many_relevant_passages_some_are_shown_and_all_are_counted():
    gold = (tuple(f"d{i}" for i in range(5)), ("d1",), ())
    data, _, hits = read(islands.fit([ledger_of(ONE, OTHER, gold=gold)], 100_000)[0])
    assert data["gold"][0] == [data["docids"].index(f"d{i}") for i in range(3)]
    assert data["golds"] == {"0": 5}
    assert hits[0] % 2 == 1


def test_room_is_kept_and_what_was_cut_is_said():
    held = ledger_of(ONE, OTHER, text="long " * 100)
    (full,) = islands.fit([held], 100_000)
    assert not any("light" in note for note in full.notes)
    sizes = []
    for room in range(len(full.json.encode()), 0, -40):
        (island,) = islands.fit([held], room)
        sizes.append(len(island.json.encode()))
        assert sizes[-1] <= room
        data = json.loads(island.json) if island.json else None
        if data is None:
            assert "no room left" in island.notes[0]
        elif len(data["texts"]) < 5:
            assert f"{5 - len(data['texts'])} of the 5 passages" in island.notes[-1]
            assert (f"{5 - len(data['titles'])} of them without a title" in island.notes[-1]) == (
                len(data["titles"]) < 5
            )
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


def test_a_dataset_that_needs_little_leaves_the_rest_to_the_others():
    small, large = ledger_of(ONE, OTHER), ledger_of(ONE, OTHER, text="long " * 100)
    need = sum(len(island.json.encode()) for island in islands.fit([small, large], 10**6))
    full = islands.fit([large, small], need + 20)
    assert all(len(json.loads(island.json)["texts"]) == 5 for island in full)
    assert sum(len(i.json.encode()) for i in islands.fit([large, small], need - 100)) <= need - 100


def test_texts_cannot_leave_their_island():
    hostile = '</script><script>alert(1)</script> & <!-- \u2028 "'
    text = islands.embed({"text": hostile})
    assert not any(c in text for c in "<>&\u2028")
    assert json.loads(text) == {"text": hostile}


def test_ledger_of_a_run(tmp_path):
    section = load(write_sample(tmp_path / "run", seeds=(0, 1), queries=20, data=True)).sections[0]
    held = queries.read(section)
    assert [c.system for c in held.columns][-2:] == ["oracle", "random"]
    assert held.queries[3].text == "What tells of thing 3?"
    assert held.gold[3] == ("d3",)
    assert held.several_seeds
    best = held.columns[0]
    assert sum(best.values) / 20 == pytest.approx(section.ranked()[0].score("RR@5").value)
    oracle = held.columns[-2]
    assert oracle.first == tuple(f"d{i}" for i in range(20))
    assert "Several seeds" in " ".join(islands.fit([held], 10**6)[0].notes)
    table = queries.table(section, held)
    assert len(table.lines) == 10  # five systems but the brackets, each pair once
    assert {cell.raw for line in table.lines for cell in line.cells[-1:]} == {20}


def test_a_run_without_its_dataset_is_compared_by_ids(tmp_path):
    section = load(write_sample(tmp_path / "run", queries=20)).sections[0]
    held = queries.read(section)
    (island,) = islands.fit([held], 10**6)
    assert json.loads(island.json)["qids"][:2] == ["q0", "q1"]
    assert any("no longer in the run folder" in note for note in island.notes)


def test_one_system_is_not_compared(tmp_path):
    quality = {"bm25": 0.5}
    section = load(write_sample(tmp_path / "run", queries=20, quality=quality, failed={})).sections[0]
    assert queries.read(section) is None


def test_damaged_files_are_named(tmp_path):
    folder = write_sample(tmp_path / "run", queries=20, data=True)
    cell = folder / "vital-articles-500" / "bm25" / "0"
    (cell / "run.trec.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"run\.trec\.gz"):
        queries.read(load(folder).sections[0])
    (cell / "per_query.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunFolderError, match=r"per_query\.parquet"):
        queries.read(load(folder).sections[0])
