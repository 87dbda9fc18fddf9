"""A grown trie is, for every prefix, the trie built anew from the sequences that are present."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.lm.beam import Hypothesis, constrained_search
from harness.lm.overlay import GrownTrie
from harness.lm.ragged import Ragged
from harness.lm.trie import TokenTrie, Trie, Upto
from tests.lm_models import tiny_llama

ARRAYS = ("tokens", "edges", "first_child", "ends", "items")
SEQUENCE = st.one_of(
    st.lists(st.integers(0, 2), max_size=7),
    st.lists(st.just(1), max_size=9),  # long stretches without a branch
    st.lists(st.integers(0, 1), max_size=3),  # many copies, siblings and prefixes of each other
)
SEQUENCES = st.lists(SEQUENCE, max_size=10)
Node = tuple[list[int], bool, list[int]]


@dataclass
class Mirror:
    """What a grown trie should hold: plain lists, built anew on demand."""

    sequences: list[list[int]]
    keep: list[int] | None
    cut: bool
    gone: set[int]

    @classmethod
    def drawn(cls, data: st.DataObject, sequences: list[list[int]], cut: bool) -> Mirror:
        keep = [data.draw(st.integers(0, 8)) for _ in sequences] if cut and data.draw(st.booleans()) else None
        return cls(sequences, keep, cut, set())

    @property
    def rows(self) -> list[int]:
        return [i for i in range(len(self.sequences)) if i not in self.gone]

    def built(self) -> tuple[TokenTrie, np.ndarray]:
        """Build the trie anew; return it and the row of each of its items."""
        rows = self.rows
        keep = None if self.keep is None else [self.keep[i] for i in rows]
        trie = TokenTrie.from_sequences([self.sequences[i] for i in rows], cut=self.cut, keep=keep)
        return trie, np.array(rows, dtype=np.int64)

    def grown(self) -> GrownTrie:
        sequences = Ragged.of(self.sequences)
        base = TokenTrie.from_sequences(sequences, cut=self.cut, keep=self.keep)
        return GrownTrie.of(base, sequences, cut=self.cut, keep=self.keep)


def step(trie: GrownTrie, mirror: Mirror, data: st.DataObject) -> GrownTrie:
    """Draw one change, and make it in both."""
    kind = data.draw(st.sampled_from(["add", "add", "remove", "remove", "copies", "compact"]))
    if kind == "compact":
        return trie.compacted()
    rows = mirror.rows
    if kind == "remove":
        removed = data.draw(st.lists(st.sampled_from(rows), unique=True)) if rows else []
        mirror.gone |= set(removed)
        return trie.removed(removed)
    if kind == "copies":  # of anything that was ever there, and continuations of it
        chosen = data.draw(st.lists(st.sampled_from(mirror.sequences), max_size=4)) if mirror.sequences else []
        added = [[*s, *data.draw(st.lists(st.integers(0, 2), max_size=2))] for s in chosen]
    else:
        added = data.draw(SEQUENCES)
    keep = None if mirror.keep is None else [data.draw(st.integers(0, 8)) for _ in added]
    mirror.sequences = [*mirror.sequences, *added]
    mirror.keep = None if mirror.keep is None or keep is None else [*mirror.keep, *keep]
    return trie.added(added, keep)


def walked(trie: Trie) -> dict[tuple[int, ...], tuple[int, Node]]:
    """Map every path to its node, and to what is allowed there, whether a sequence ends, and which."""
    found: dict[tuple[int, ...], tuple[int, Node]] = {}
    todo: list[tuple[tuple[int, ...], int]] = [((), 0)]
    while todo:
        path, node = todo.pop()
        one = np.array([node], dtype=np.int64)
        followers = trie.followers(one)
        assert followers.bounds.tolist() == [0, len(followers.tokens)]
        tokens = followers.tokens.tolist()
        found[path] = node, (tokens, bool(trie.accepts(one)[0]), trie.items_at(node).tolist())
        todo += [((*path, token), child) for token, child in zip(tokens, followers.nodes.tolist(), strict=True)]
    return found


def same(trie: GrownTrie, mirror: Mirror) -> None:
    built, rows = mirror.built()
    wanted = {path: (t, a, rows[items].tolist()) for path, (_, (t, a, items)) in walked(built).items()}
    found = walked(trie)
    assert {path: node for path, (_, node) in found.items()} == wanted
    assert len({node for node, _ in found.values()}) == len(found)
    assert trie.rows.tolist() == rows.tolist() and len(trie) == len(rows)
    for path, (node, (tokens, _, _)) in found.items():
        reach = int(trie.reach(np.array([node]))[0])
        assert reach >= max(len(p) for p in found if p[: len(path)] == path) - len(path)
        assert (reach > 0) == bool(tokens)
        assert trie.height >= len(path)


@settings(max_examples=200, deadline=None)
@given(SEQUENCES, st.booleans(), st.data())
def test_every_change_gives_the_trie_built_anew(sequences: list[list[int]], cut: bool, data: st.DataObject) -> None:
    mirror = Mirror.drawn(data, sequences, cut)
    trie = mirror.grown()
    same(trie, mirror)
    for _ in range(data.draw(st.integers(1, 5))):
        trie = step(trie, mirror, data)
        same(trie, mirror)


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.booleans(), st.data())
def test_a_batch_of_nodes_is_answered_as_each_alone(sequences: list[list[int]], cut: bool, data: st.DataObject) -> None:
    mirror = Mirror.drawn(data, sequences, cut)
    trie = mirror.grown()
    for _ in range(3):
        trie = step(trie, mirror, data)
    one_by_one = list(walked(trie).values())
    nodes = np.array([node for node, _ in one_by_one])
    found = trie.followers(nodes)
    for i, (node, (tokens, accepts, _)) in enumerate(one_by_one):
        alone = trie.followers(np.array([node]))
        mine = slice(found.bounds[i], found.bounds[i + 1])
        assert found.tokens[mine].tolist() == tokens and found.nodes[mine].tolist() == alone.nodes.tolist()
        assert bool(trie.accepts(nodes)[i]) == accepts
        assert trie.reach(nodes)[i] == trie.reach(np.array([node]))[0]
    square = np.stack([nodes, nodes])  # a search asks for all its beams at once
    assert trie.accepts(square).tolist() == [trie.accepts(nodes).tolist()] * 2
    assert trie.reach(square).tolist() == [trie.reach(nodes).tolist()] * 2
    assert trie.followers(nodes[:0]).bounds.tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.booleans(), st.data())
def test_older_tries_and_the_base_stay_as_they_were(sequences: list[list[int]], cut: bool, data: st.DataObject) -> None:
    mirror = Mirror.drawn(data, sequences, cut)
    first = mirror.grown()
    arrays = {name: getattr(first.base, name).copy() for name in ARRAYS}
    second = step(first, mirror, data)
    before = walked(first), walked(second)
    step(second, mirror, data)
    assert (walked(first), walked(second)) == before
    assert all(np.array_equal(getattr(first.base, name), arrays[name]) for name in ARRAYS)


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, SEQUENCES, st.booleans(), st.data())
def test_removing_everything_leaves_an_empty_trie(
    sequences: list[list[int]], more: list[list[int]], cut: bool, data: st.DataObject
) -> None:
    mirror = Mirror.drawn(data, sequences, cut)
    trie = mirror.grown().added(more)
    for rows in (trie.rows[::2], trie.rows[1::2]):
        trie = trie.removed(rows.tolist())
    root = np.zeros(1, dtype=np.int64)
    assert len(trie) == 0
    assert len(trie.followers(root).tokens) == 0
    assert trie.reach(root).tolist() == [0] and trie.accepts(root).tolist() == [False]
    assert trie.items_at(0).tolist() == []


@pytest.mark.parametrize("cut", [False, True])
def test_long_shared_prefixes(cut: bool) -> None:
    shared = [i % 7 for i in range(320)]
    parts = [*shared[:150], 8], [*shared[:150], 8, 9], shared[:301]
    mirror = Mirror([[*shared, 1, 2, 3], *parts, [*shared, 5, 5]], None, cut, set())
    trie = mirror.grown()
    same(trie, mirror)
    added = [[*shared, 1, 2, 4], [*shared, 1, 2, 4], [*shared[:310], 8, 8]]
    trie, mirror.sequences = trie.added(added), [*mirror.sequences, *added]
    same(trie, mirror)
    for rows in ([0, 4], [5], [6, 2], [1, 7]):
        trie, mirror.gone = trie.removed(rows), mirror.gone | set(rows)
        same(trie, mirror)


def test_a_new_sequence_moves_the_cut_of_an_old_one_and_back() -> None:
    sequences = Ragged.of([[1, 2, 3, 4], [5, 6]])
    trie = GrownTrie.of(TokenTrie.from_sequences(sequences, cut=True), sequences, cut=True)
    assert set(walked(trie)) == {(), (1,), (5,)}
    longer = trie.added([[1, 2, 7]])
    assert set(walked(longer)) == {(), (1,), (5,), (1, 2), (1, 2, 3), (1, 2, 7)}
    assert set(walked(longer.removed([2]))) == {(), (1,), (5,)}
    assert set(walked(longer.removed([0]))) == {(), (1,), (5,)}


def test_what_need_not_leave_the_base_stays() -> None:
    def cut(sequences: list[list[int]]) -> GrownTrie:
        ragged = Ragged.of(sequences)
        return GrownTrie.of(TokenTrie.from_sequences(ragged, cut=True), ragged, cut=True)

    beside = cut([[1, 2, 3], [1, 4, 5]]).added([[1, 2, 6]])
    for trie in (beside, beside.added([]), beside.removed([])):
        assert sorted(trie.delta.items.tolist()) == [0, 2]
    assert cut([[1], [1, 2], [1, 3], [1, 4]]).removed([3]).delta.items.tolist() == []
    assert cut([[1, 2], [1, 3], [1, 4]]).removed([1]).delta.items.tolist() == []
    assert cut([[1, 2, 3], [1, 2, 4], [1, 5]]).removed([1]).delta.items.tolist() == [0]


def test_copies_share_the_largest_keep_of_those_present() -> None:
    sequences = Ragged.of([[1, 2, 3, 4], [1, 2, 3, 4], [5]])
    keep = [2, 3, 0]
    base = TokenTrie.from_sequences(sequences, cut=True, keep=keep)
    trie = GrownTrie.of(base, sequences, cut=True, keep=keep)
    assert set(walked(trie)) == {(), (1,), (1, 2), (1, 2, 3), (5,)}
    assert set(walked(trie.removed([1]))) == {(), (1,), (1, 2), (5,)}
    assert (1, 2, 3, 4) in walked(trie.added([[1, 2, 3, 4]], keep=[9]))


def test_a_copy_does_not_hold_the_end_of_its_like() -> None:
    sequences = Ragged.of([[1, 2], [1, 2, 3], [5]])
    trie = GrownTrie.of(TokenTrie.from_sequences(sequences, cut=True), sequences, cut=True).added([[1, 2]])
    assert trie.items_at(walked(trie)[1, 2][0]).tolist() == [0, 3]
    assert set(walked(trie.removed([1]))) == {(), (1,), (5,)}


def test_a_mapped_base_is_shared_not_copied(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 20_000)
    sequences = Ragged(
        rng.zipf(1.3, int(lengths.sum())).clip(max=5_000).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)])
    )
    TokenTrie.from_sequences(sequences, cut=True).save(tmp_path)
    base = TokenTrie.open(tmp_path)
    more = [rng.zipf(1.3, 6).clip(max=5_000).tolist() for _ in range(200)]
    grown = GrownTrie.of(base, sequences, cut=True).added(more).removed(range(0, 20_000, 100))
    assert grown.base is base
    assert all(getattr(grown.base, name) is getattr(base, name) for name in ARRAYS)
    assert grown.source.first is sequences
    assert len(grown.delta.items) < 1_000
    assert grown.nbytes - base.nbytes < base.nbytes / 10
    assert list(levels(grown)) == list(levels(grown.compacted()))


def levels(trie: Trie) -> Iterator[tuple[list[int], list[int], list[list[int]]]]:
    """Walk all of a large trie; yield what follows each level, and what ends there."""
    nodes = np.zeros(1, dtype=np.int64)
    while len(nodes):
        found = trie.followers(nodes)
        ends = [trie.items_at(node).tolist() for node in nodes[trie.accepts(nodes)].tolist()]
        yield found.tokens.tolist(), found.bounds.tolist(), ends
        nodes = found.nodes


def test_unknown_items_are_refused() -> None:
    sequences = Ragged.of([[1, 2], [1, 3]])
    trie = GrownTrie.of(TokenTrie.from_sequences(sequences), sequences).added([[4]]).removed([0])
    for item in (0, 3, -1):
        with pytest.raises(DataError, match=f"item {item}"):
            trie.removed([1, item])
    for item in (0, 2, 4):
        with pytest.raises(DataError, match=f"item {item}"):
            trie.removed([2]).compacted().added([[5]]).removed([3, item])
    assert trie.removed([]).rows.tolist() == [1, 2]


def test_what_does_not_fit_is_refused() -> None:
    sequences = Ragged.of([[1, 2], [1, 3]])
    base = TokenTrie.from_sequences(sequences, cut=True)
    with pytest.raises(DataError, match="1 sequences and item 1"):
        GrownTrie.of(base, Ragged.of([[1, 2]]), cut=True)
    with pytest.raises(DataError, match="each of 2 sequences"):
        GrownTrie.of(base, sequences, cut=True, keep=[1])
    with pytest.raises(DataError, match="each of 1 sequences"):
        GrownTrie.of(base, sequences, cut=True).added([[1]], keep=[1, 2])
    with pytest.raises(DataError, match="at least 0"):
        GrownTrie.of(base, sequences, cut=True).added([[1, -1]])


BACKBONE = tiny_llama()
END = 1
WORDS = st.lists(st.lists(st.integers(2, 6), min_size=1, max_size=5), min_size=1, max_size=8)
PROMPTS = st.lists(st.lists(st.integers(2, 23), min_size=1, max_size=9), min_size=1, max_size=3)


@settings(max_examples=20, deadline=None)
@given(PROMPTS, WORDS, WORDS, st.booleans(), st.data())
def test_a_search_finds_what_it_finds_in_the_trie_built_anew(
    prompts: list[list[int]],
    words: list[list[int]],
    more: list[list[int]],
    cut: bool,
    data: st.DataObject,
) -> None:
    normaliser = data.draw(st.sampled_from(["vocabulary", "allowed"]))
    mirror = Mirror([[*s, END] for s in words], None, cut, set())
    trie = mirror.grown().added([[*s, END] for s in more])
    mirror.sequences += [[*s, END] for s in more]
    mirror.gone = set(data.draw(st.lists(st.sampled_from(mirror.rows), unique=True)))
    trie = trie.removed(mirror.gone)
    built, rows = mirror.built()
    titles = [node for path, (node, _) in walked(trie).items() if len(path) == 1]
    stages: list[tuple[Trie, Trie]] = [(trie, built)]
    stages.append((Upto(trie, titles), Upto(built, [n for p, (n, _) in walked(built).items() if len(p) == 1])))
    for mine, anew in stages:
        found, wanted = (
            constrained_search(BACKBONE, prompts, t, beam_size=3, normaliser=normaliser) for t in (mine, anew)
        )
        for some, others in zip(found, wanted, strict=True):
            assert [h.tokens for h in some] == [h.tokens for h in others]
            np.testing.assert_allclose([h.score for h in some], [h.score for h in others], atol=1e-4)
            assert items(trie, some) == [rows[i].tolist() for i in items(built, others)]


def items(trie: Trie, hypotheses: list[Hypothesis]) -> list[list[int]]:
    return [trie.items_at(h.node).tolist() for h in hypotheses]
