"""Beam search against its specification: a plain double loop that runs the model anew for every prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.lm import lattice as lattice_module
from harness.lm.beam import Hypothesis, Rules, Start, constrained_search, search
from harness.lm.lattice import Lattice
from harness.lm.offsets import Offsets
from harness.lm.trie import TokenTrie, Upto, walk
from tests.lm_models import logprobs_after, tiny_llama

END = 1
WORDS = st.lists(st.integers(2, 6), min_size=1, max_size=5)
CORPORA = st.lists(WORDS, min_size=1, max_size=8)
PROMPTS = st.lists(st.lists(st.integers(2, 23), min_size=1, max_size=9), min_size=1, max_size=4)
BACKBONE = tiny_llama()


def specified(
    prompt: list[int],
    sequences: Sequence[Sequence[int]],
    beam_size: int,
    length_penalty: float = 1.0,
    added: Mapping[tuple[int, ...], float] = MappingProxyType({}),
) -> list[tuple[tuple[int, ...], float]]:
    """Search by the rule in beam.py's docstring, with lists and full forward passes."""
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    done: list[tuple[tuple[int, ...], float]] = []
    while beams:
        candidates = []
        for written, total in beams:
            step = logprobs_after(BACKBONE, [*prompt, *written])
            allowed = {
                s[len(written)] for s in sequences if tuple(s[: len(written)]) == written and len(s) > len(written)
            }
            candidates += [((*written, t), total + step[t] + added.get((*written, t), 0.0)) for t in sorted(allowed)]
        candidates.sort(key=lambda c: -c[1])
        candidates = candidates[: 2 * beam_size]
        for written, total in candidates[:beam_size]:
            if list(written) in [list(s) for s in sequences]:
                done.append((written, total / len(written) ** length_penalty))
        done = sorted(done, key=lambda d: -d[1])[:beam_size]
        beams = [c for c in candidates if any(tuple(s[: len(c[0])]) == c[0] and len(s) > len(c[0]) for s in sequences)]
        beams = beams[:beam_size]
    return done


def compare(found: list[Hypothesis], wanted: list[tuple[tuple[int, ...], float]]) -> None:
    assert [h.tokens for h in found] == [w[0] for w in wanted]
    np.testing.assert_allclose([h.score for h in found], [w[1] for w in wanted], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(PROMPTS, CORPORA, st.integers(1, 6), st.sampled_from([0.0, 0.7, 1.0]))
def test_any_beam_follows_the_specification(
    prompts: list[list[int]], corpus: list[list[int]], beam_size: int, penalty: float
) -> None:
    sequences = [[*s, END] for s in corpus]
    trie = TokenTrie.from_sequences(sequences)
    found = constrained_search(BACKBONE, prompts, trie, beam_size=beam_size, length_penalty=penalty)
    for prompt, hypotheses in zip(prompts, found, strict=True):
        compare(hypotheses, specified(prompt, sequences, beam_size, penalty))
        for h in hypotheses:
            assert [sequences[i] for i in trie.items_at(h.node)] == [list(h.tokens)] * len(trie.items_at(h.node))
            assert len(trie.items_at(h.node)) >= 1


@settings(max_examples=40, deadline=None)
@given(PROMPTS, CORPORA, st.integers(1, 6), st.sampled_from([0.0, 0.7, 1.0]), st.randoms())
def test_offsets_are_added_and_no_search_ends_before_they_could_count(
    prompts: list[list[int]], corpus: list[list[int]], beam_size: int, penalty: float, random: Random
) -> None:
    sequences = [[*s, END] for s in corpus]
    trie = TokenTrie.from_sequences(sequences)
    prefixes = sorted({tuple(s[: n + 1]) for s in sequences for n in range(len(s))})
    added = {p: random.uniform(-3, 9) for p in prefixes if random.random() < 0.7}
    nodes = np.array([walk(trie, p) for p in added], dtype=np.int64)
    offsets = Offsets.of(trie, nodes, np.array([*added.values()])).times(1.0)
    for p in prefixes:
        gains = [
            sum(added.get(q[:n], 0.0) for n in range(len(p) + 1, len(q) + 1)) for q in prefixes if q[: len(p)] == p
        ]
        assert offsets.ahead_of(np.array([walk(trie, p)]))[0] == pytest.approx(max(gains))
    rules = Rules(beam_size, length_penalty=penalty, offsets=offsets)
    session = Lattice(BACKBONE)
    states, slots = session.prefill(prompts)
    found = search(session, [Start(int(s), state) for s, state in zip(slots, states, strict=True)], trie, rules)
    for prompt, hypotheses in zip(prompts, found, strict=True):
        compare(hypotheses, specified(prompt, sequences, beam_size, penalty, added))


@pytest.mark.parametrize(
    ("penalty", "late", "early"), [(0.0, 9.0, {(3,): 1.0}), (1.0, 9.4, {(3,): 1.0}), (1.0, 9.4, {})]
)
def test_a_search_waits_for_what_offsets_may_still_add(
    penalty: float, late: float, early: dict[tuple[int, ...], float]
) -> None:
    """Two finished sequences fill the result; the third, worse so far, wins by its second step, beside a longer way."""
    sequences = [[2], [5], [3, 4], [3, *range(6, 22)]]
    added = {(2,): 6.0, (5,): 6.0, (3, 4): late, **early}
    trie = TokenTrie.from_sequences(sequences)
    nodes = np.array([walk(trie, p) for p in added], dtype=np.int64)
    rules = Rules(2, length_penalty=penalty, offsets=Offsets.of(trie, nodes, np.array([*added.values()])))
    session = Lattice(BACKBONE)
    states, slots = session.prefill([[2, 3, 4]])
    (found,) = search(session, [Start(int(slots[0]), states[0])], trie, rules)
    assert found[0].tokens == (3, 4)
    compare(found, specified([2, 3, 4], sequences, 2, penalty, added))


@settings(max_examples=25, deadline=None)
@given(PROMPTS, CORPORA)
def test_beam_as_wide_as_the_leaves_is_exhaustive(prompts: list[list[int]], corpus: list[list[int]]) -> None:
    sequences = [[*s, END] for s in corpus]
    distinct = sorted({tuple(s) for s in sequences})
    found = constrained_search(BACKBONE, prompts, TokenTrie.from_sequences(sequences), beam_size=len(distinct))
    for prompt, hypotheses in zip(prompts, found, strict=True):
        scores = []
        for sequence in distinct:
            total = sum(logprobs_after(BACKBONE, [*prompt, *sequence[:n]])[t] for n, t in enumerate(sequence))
            scores.append((sequence, total / len(sequence)))
        compare(hypotheses, sorted(scores, key=lambda s: -s[1]))


@settings(max_examples=25, deadline=None)
@given(PROMPTS, CORPORA, st.integers(1, 4))
def test_allowed_normaliser_makes_forced_tokens_free(
    prompts: list[list[int]], corpus: list[list[int]], beam_size: int
) -> None:
    sequences = [[*s, END] for s in corpus]
    trie = TokenTrie.from_sequences(sequences)
    found = constrained_search(BACKBONE, prompts, trie, beam_size=beam_size, normaliser="allowed")
    for prompt, hypotheses in zip(prompts, found, strict=True):
        for h in hypotheses:
            total, node = 0.0, 0
            for n, token in enumerate(h.tokens):
                allowed = trie.children(node)[0]
                step = logprobs_after(BACKBONE, [*prompt, *h.tokens[:n]])
                total += step[token] - np.logaddexp.reduce(step[allowed])
                node = trie.walk([token], node)
            assert h.logprob == pytest.approx(total, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(2, 23), min_size=1, max_size=6), CORPORA)
def test_second_stage_from_the_cache_equals_a_fresh_search(prompt: list[int], corpus: list[list[int]]) -> None:
    """Titles first, then what follows them: the cache of stage one must give stage two the same scores."""
    titles = [[2, 3, 7], [2, 4, 7], [5, 7]]
    sequences = [[*titles[i % 3], *s, END] for i, s in enumerate(corpus)]
    trie = TokenTrie.from_sequences(sequences)
    upto = Upto(trie, [n for t in titles if (n := trie.walk(t)) >= 0])
    lattice = Lattice(BACKBONE)
    state, slots = lattice.prefill([prompt, [9, *prompt]])
    first = search(lattice, [Start(slots[r], state[r]) for r in (0, 1)], upto, Rules(3))
    chosen = [(row, h) for row, found in enumerate(first) for h in found]
    starts = []
    for _, h in chosen:
        at, slot = lattice.next_slot, h.slot
        parents = [slot, *range(at, at + len(h.unfed) - 1)]
        hidden, fed = lattice.feed(np.array(parents), np.array(h.unfed))
        starts.append(Start(int(fed[-1]), hidden[-1], h.node))
    second = search(lattice, starts, trie, Rules(4))
    for (row, title), found in zip(chosen, second, strict=True):
        left = [*([9] if row else []), *prompt, *title.tokens]
        rest = [s[len(title.tokens) :] for s in sequences if tuple(s[: len(title.tokens)]) == title.tokens]
        compare(found, specified(left, rest, 4))


def test_long_shared_prefixes() -> None:
    shared = [2 + i % 5 for i in range(300)]
    sequences = [[*shared, 3, END], [*shared, 4, END], [*shared, 4, 2, END]]
    found = constrained_search(BACKBONE, [[5]], TokenTrie.from_sequences(sequences), beam_size=3)[0]
    assert {h.tokens for h in found} == {tuple(s) for s in sequences}
    total = sum(logprobs_after(BACKBONE, [5, *found[0].tokens[:n]])[t] for n, t in enumerate(found[0].tokens))
    assert found[0].logprob == pytest.approx(total, abs=1e-2)


def test_order_of_queries_and_batch_size_do_not_change_anything() -> None:
    trie = TokenTrie.from_sequences([[a, b, END] for a in range(2, 8) for b in range(2, 8)])
    prompts = [[3], [4, 5, 6, 7, 8], [9, 9]]
    together = constrained_search(BACKBONE, prompts, trie, beam_size=5)
    turned = constrained_search(BACKBONE, prompts[::-1], trie, beam_size=5)[::-1]
    alone = [constrained_search(BACKBONE, [p], trie, beam_size=5)[0] for p in prompts]
    for a, b, c in zip(together, turned, alone, strict=True):
        assert [h.tokens for h in a] == [h.tokens for h in b] == [h.tokens for h in c]
        np.testing.assert_allclose([h.score for h in a], [h.score for h in c], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(PROMPTS, CORPORA, st.integers(1, 5), st.sampled_from(["vocabulary", "allowed"]), st.data())
def test_how_the_work_is_divided_changes_nothing(
    prompts: list[list[int]], corpus: list[list[int]], beam_size: int, normaliser, data: st.DataObject
) -> None:
    """Look-ahead, batch size and the order of the prompts decide when something is computed, not what is found."""
    ahead, batch = data.draw(st.sampled_from([0, 3, 1000])), data.draw(st.integers(1, 3))
    trie = TokenTrie.from_sequences(corpus)  # without end tokens: some are prefixes of others
    plain = [constrained_search(BACKBONE, [p], trie, beam_size=beam_size, normaliser=normaliser)[0] for p in prompts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lattice_module._LOOKAHEAD_TOKENS, "cpu", ahead)
        turned = constrained_search(
            BACKBONE, prompts[::-1], trie, beam_size=beam_size, normaliser=normaliser, batch_size=batch
        )[::-1]
    for prompt, a, b in zip(prompts, plain, turned, strict=True):
        # A token behind nothing but itself is equally likely at every place: of 2 and 2 2 behind 2 rounding chooses.
        tied = sum({*word} == {*prompt} for word in corpus) > 1
        assert tied or [h.tokens for h in a] == [h.tokens for h in b]
        np.testing.assert_allclose([h.score for h in a], [h.score for h in b], atol=1e-5)
        assert all(len(trie.items_at(h.node)) and trie.walk(h.tokens) == h.node for h in b)


def test_forced_tokens_share_a_pass_and_cost_nothing_where_only_allowed_ones_count() -> None:
    """One chain of twelve tokens: read in one pass, and not at all where each is the only one allowed."""
    trie = TokenTrie.from_sequences([[*range(2, 13), END], [20, 21, END]])
    for normaliser, calls in (("vocabulary", 2), ("allowed", 1)):
        counters: dict[str, float] = {}
        found = constrained_search(BACKBONE, [[3]], trie, beam_size=2, normaliser=normaliser, counters=counters)[0]
        assert len(found) == 2
        assert counters["model_calls"] == calls
        assert counters["search_s"] > counters["mask_s"] > 0 and counters["model_s"] > 0


def test_empty_and_single_leaf_tries() -> None:
    assert constrained_search(BACKBONE, [[3]], TokenTrie.from_sequences([]), beam_size=2) == [[]]
    found = constrained_search(BACKBONE, [[3]], TokenTrie.from_sequences([[4, END]]), beam_size=2)[0]
    assert [h.tokens for h in found] == [(4, END)]


def test_tokens_outside_a_restricted_vocabulary_are_dead_not_chosen() -> None:
    backbone = BACKBONE.restricted(np.array([END, 2, 3]))
    lattice = Lattice(backbone)
    state, slots = lattice.prefill([[3]])
    trie = TokenTrie.from_sequences([[2, END], [5, END]])
    found = search(lattice, [Start(slots[0], state[0])], trie, Rules(2))[0]
    assert [h.tokens for h in found] == [(2, END)]
