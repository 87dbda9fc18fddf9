"""Time constrained decoding three ways on a tiny model: `generate` over dictionaries, the released way, and ours.

Run by `make bench`; in `make test` each case runs once, as a check that all find the same. The real comparison, with a
real model, real titles and passages, is `harness bench decode`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.bench import trie as growth
from harness.bench.reference import Written, dict_trie, equal, generate
from harness.lm import TokenTrie, constrained_search
from harness.lm.ragged import Ragged
from harness.types import Corpus, Passage, Split
from selfretrieval.bench import agreement
from selfretrieval.released import Released
from selfretrieval.retriever import SelfRetriever
from selfretrieval.settings import SelfRetrievalSettings
from tests.lm_models import tiny_folder, tiny_llama

END, BEAMS, HEIGHT = 1, 5, 6
RNG = np.random.default_rng(0)
SEQUENCES = [[*RNG.integers(2, 20, RNG.integers(2, HEIGHT)).tolist(), END] for _ in range(2000)]
PROMPTS = [RNG.integers(2, 24, RNG.integers(8, 14)).tolist() for _ in range(32)]
TRIE, NESTED = TokenTrie.from_sequences(SEQUENCES), dict_trie(SEQUENCES)


@cache
def backbone() -> Any:
    return tiny_llama()


def generated(prompts: list[list[int]], normaliser) -> list[list[Written]]:
    return generate(backbone().model, prompts, NESTED, beam_size=BEAMS, end=END, longest=HEIGHT, normaliser=normaliser)


def ours(prompts: list[list[int]], normaliser) -> list[list[Any]]:
    return constrained_search(backbone(), prompts, TRIE, beam_size=BEAMS, normaliser=normaliser, early_stopping=False)


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("normaliser", ["vocabulary", "allowed"])
@pytest.mark.parametrize("queries", [1, 32])
@pytest.mark.parametrize("decode", [ours, generated])
def test_decode(benchmark: BenchmarkFixture, decode, queries: int, normaliser) -> None:
    found = benchmark(decode, PROMPTS[:queries], normaliser)
    other = (generated if decode is ours else ours)(PROMPTS[:queries], normaliser)
    mine, theirs = (found, other) if decode is ours else (other, found)
    assert all(equal(a, b) for a, b in zip(mine, theirs, strict=True))


@cache
def both_ways() -> tuple[SelfRetriever, Released]:
    words = [f"w{n}" for n in range(40)]
    passages = [
        Passage(f"{d}.{n}", f"Title {d}", " ".join(RNG.choice(words, 12)), str(d)) for d in range(12) for n in range(4)
    ]
    settings = {"backbone": tiny_folder(Path(mkdtemp())), "training": {"tokens": 0}, "trim_vocabulary": False}
    retriever = SelfRetriever(
        SelfRetrievalSettings.model_validate({**settings, "lowercase": False, "dtype": "float32"})
    )
    retriever.index(Corpus.from_passages(passages), Split("train"), Split("dev"))
    return retriever, Released(*retriever.parts[:2], title_beams=5, passage_beams=10)


@pytest.mark.benchmark(group="decode-whole")
@pytest.mark.parametrize("way", ["ours", "released"])
def test_whole_retrieval(benchmark: BenchmarkFixture, way: str) -> None:
    retriever, released = both_ways()
    if way == "ours":
        judged, found = benchmark(retriever.explain, ["w3 w7 w9"])[0], released.search("w3 w7 w9")
    else:
        judged, found = retriever.explain(["w3 w7 w9"])[0], benchmark(released.search, "w3 w7 w9")
    assert agreement([], judged, [], found) == (True, 1.0, True)


@cache
def titles(count: int) -> Ragged:
    seeds = Ragged.of([[*RNG.integers(2, 4000, RNG.integers(1, 6)).tolist(), END] for _ in range(5000)])
    return growth.mixed(seeds, count)


@pytest.mark.benchmark(group="trie")
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_build_a_trie(benchmark: BenchmarkFixture, count: int) -> None:
    trie = benchmark(TokenTrie.from_sequences, titles(count), cut=True)
    assert len(trie.items) == count
    assert trie.nbytes <= 4 * len(trie) + 24 * count + 16
    if benchmark.enabled:  # the floor is 100,000 a minute; a run without timing has nothing to hold against it
        assert count / benchmark.stats.stats.median * 60 > 100_000


@pytest.mark.benchmark(group="trie-step")
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_a_step_of_a_search(benchmark: BenchmarkFixture, count: int) -> None:
    trie = TokenTrie.from_sequences(titles(count), cut=True)
    assert benchmark(growth.step_us, trie, 20) > 0
