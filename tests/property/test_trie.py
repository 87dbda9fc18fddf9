"""The trie is a brute-force prefix filter over the list of its sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.lm import growth
from harness.lm.growth import first_copies
from harness.lm.ragged import Ragged
from harness.lm.trie import TokenTrie, walk_all

SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=12)


def followers(sequences: list[list[int]], prefix: tuple[int, ...]) -> set[int]:
    return {s[len(prefix)] for s in sequences if tuple(s[: len(prefix)]) == prefix and len(s) > len(prefix)}


def prefixes(sequences: list[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(s[:n]) for s in sequences for n in range(len(s) + 1)} | {()}


def paths(trie: TokenTrie) -> dict[tuple[int, ...], int]:
    """Map every path of the trie to its node."""
    found, todo = {(): 0}, [((), 0)]
    while todo:
        path, node = todo.pop()
        tokens, nodes = trie.children(node)
        for token, child in zip(tokens.tolist(), nodes.tolist(), strict=True):
            found[(*path, token)] = child
            todo.append(((*path, token), child))
    return found


@given(SEQUENCES)
def test_trie_allows_what_a_prefix_filter_allows(sequences: list[list[int]]) -> None:
    trie = TokenTrie.from_sequences(sequences)
    nodes = paths(trie)
    assert set(nodes) == prefixes(sequences)
    assert sorted(nodes.values()) == list(range(len(trie)))
    for prefix, node in nodes.items():
        assert set(trie.children(node)[0].tolist()) == followers(sequences, prefix)
        assert trie.walk(prefix) == node
        assert trie.items_at(node).tolist() == [i for i, s in enumerate(sequences) if tuple(s) == prefix]


@given(SEQUENCES, SEQUENCES, st.booleans())
def test_walking_all_at_once_leads_where_walking_one_by_one_does(
    sequences: list[list[int]], asked: list[list[int]], cut: bool
) -> None:
    trie = TokenTrie.from_sequences(sequences, cut=cut)
    asked = [*asked, *sequences]
    assert walk_all(trie, Ragged.of(asked)).tolist() == [trie.walk(s) for s in asked]


@given(SEQUENCES, st.data())
def test_cut_trie_ends_each_branch_where_one_distinct_sequence_is_left(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    keep = [data.draw(st.integers(0, len(s))) for s in sequences]
    trie = TokenTrie.from_sequences(sequences, cut=True, keep=keep)
    nodes = paths(trie)
    for row, sequence in enumerate(sequences):
        copies = [i for i, s in enumerate(sequences) if s == sequence]
        floor = max(1, *(keep[i] for i in copies))
        alone = [
            n for n in range(floor, len(sequence)) if all(s == sequence for s in sequences if s[:n] == sequence[:n])
        ]
        end = tuple(sequence[: alone[0]] if alone else sequence)
        assert row in trie.items_at(nodes[end]).tolist()
    assert sorted(trie.items.tolist()) == list(range(len(sequences)))


@given(SEQUENCES, st.booleans())
def test_a_batch_of_nodes_is_answered_as_each_alone(sequences: list[list[int]], cut: bool) -> None:
    trie = TokenTrie.from_sequences(sequences, cut=cut)
    nodes = np.arange(len(trie))
    found = trie.followers(nodes)
    depth = {node: len(path) for path, node in paths(trie).items()}
    assert trie.depth_of(nodes).tolist() == [depth[n] for n in range(len(trie))]
    assert trie.height == max(depth.values())
    assert trie.accepts(nodes).tolist() == [len(trie.items_at(n)) > 0 for n in range(len(trie))]
    below = {n: max(len(p) for p in paths(trie) if p[: depth[n]] == path) for path, n in paths(trie).items()}
    for node in range(len(trie)):
        tokens, reached = trie.children(node)
        assert found.tokens[found.bounds[node] : found.bounds[node + 1]].tolist() == tokens.tolist()
        assert found.nodes[found.bounds[node] : found.bounds[node + 1]].tolist() == reached.tolist()
        assert trie.reach(nodes)[node] >= below[node] - depth[node]
        if len(tokens) == 0:
            assert trie.reach(nodes)[node] == 0


@given(SEQUENCES, st.booleans())
def test_size_is_at_most_24_bytes_a_sequence_above_its_tokens(sequences: list[list[int]], cut: bool) -> None:
    trie = TokenTrie.from_sequences(sequences, cut=cut)
    needed = len(trie.tokens)
    assert trie.nbytes <= 4 * needed + 24 * len(sequences) + 16
    assert len(trie.edges) - 1 <= 2 * len({tuple(s) for s in sequences}) + 1


@given(SEQUENCES)
def test_first_copies(sequences: list[list[int]]) -> None:
    assert first_copies(Ragged.of(sequences)).tolist() == [sequences.index(s) for s in sequences]


def test_walk_leaves_the_trie() -> None:
    trie = TokenTrie.from_sequences([[7, 2], [7, 5], [9]])
    assert trie.walk([7, 5]) == 4 and trie.tokens[4] == 5
    assert trie.walk([7, 3]) == -1
    assert trie.walk([9, 1]) == -1


def test_long_shared_prefix_and_duplicates() -> None:
    shared = list(range(400))
    trie = TokenTrie.from_sequences([[*shared, 1], [*shared, 2], [*shared, 1], shared], cut=True)
    assert trie.height == 401
    assert trie.items_at(trie.walk([*shared, 1])).tolist() == [0, 2]
    assert trie.items_at(trie.walk(shared)).tolist() == [3]


def test_saved_trie_is_mapped_and_equal(tmp_path: Path) -> None:
    trie = TokenTrie.from_sequences(Ragged.of([[1, 2], [1, 3], [1, 2]]))
    trie.save(tmp_path / "trie")
    back = TokenTrie.open(tmp_path / "trie")
    for name in ("tokens", "edges", "first_child", "ends", "items", "height"):
        assert np.array_equal(getattr(back, name), getattr(trie, name))
    assert isinstance(back.tokens, np.memmap)


def test_refuses_what_32_bits_cannot_number_and_tries_of_other_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trie = TokenTrie.from_sequences([[1, 2], [1, 3]])
    trie.save(tmp_path)
    (tmp_path / "trie.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="version 1"):
        TokenTrie.open(tmp_path)
    trie.save(tmp_path)
    (tmp_path / "edges.npy").unlink()
    with pytest.raises(DataError, match="build it again"):
        TokenTrie.open(tmp_path)
    with pytest.raises(DataError, match="one for each"):
        TokenTrie.from_sequences([[1, 2], [1, 3]], cut=True, keep=[1])
    monkeypatch.setattr(growth, "_MOST_NODES", 3)
    with pytest.raises(DataError, match="32 bits"):
        TokenTrie.from_sequences([[1, 2], [1, 3]])


def test_refuses_negative_tokens_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 0"):
        TokenTrie.from_sequences([[1, -1]])
    with pytest.raises(DataError, match=r"TokenTrie\.save"):
        TokenTrie.open(tmp_path)
