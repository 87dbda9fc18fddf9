"""The benchmarks on tiny models and corpora: what they compare is equal, what they write has the promised form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.bench import decode, exhaustive, pairs, trie
from harness.bench.lines import Lines
from harness.bench.reference import Written, equal
from harness.cli import main
from harness.errors import ConfigError
from harness.lm.beam import Hypothesis
from harness.lm.ragged import Ragged
from harness.types import Corpus, Passage
from reports import bench as drawn
from selfretrieval import bench
from tests.lm_models import tiny_folder, tiny_llama

RNG = np.random.default_rng(3)
TASK = decode.Task(
    "made up",
    [[*RNG.integers(2, 12, RNG.integers(2, 5)).tolist(), 1] for _ in range(60)],
    [RNG.integers(2, 20, RNG.integers(3, 9)).tolist() for _ in range(6)],
    1,
)


def test_decode_figures_have_the_promised_form(tmp_path: Path) -> None:
    said: list[str] = []
    backbone = tiny_llama()
    found = decode.run(backbone, [TASK], beam_size=3, singles=2, batch_size=4, rounds=2, progress=Lines(said.append))
    figures = decode.summarise(found)
    assert set(figures) >= {"single", "batch", "equal_hypotheses", "search_share", "mask_share", "comparisons"}
    assert figures["equal_hypotheses"] is True
    assert [(m["queries_at_once"], m["normaliser"]) for m in found] == [
        (1, "vocabulary"),
        (4, "vocabulary"),
        (1, "allowed"),
        (4, "allowed"),
    ]
    assert figures["single"]["speedup_vs_generate"] == found[0]["speedup"] > 0
    assert 0 < figures["mask_share"] < figures["search_share"] < 1
    assert said[0] == "decode: 4 comparisons" and said[-1].startswith("decode: 4/4 comparisons")
    json.dumps(figures)


def test_the_least_speedup_counts_and_one_unequal_query_is_told() -> None:
    def measured(corpus: str, at_once: int, speedup: float, same: int) -> decode.Measured:
        return {
            "corpus": corpus,
            "normaliser": "vocabulary",
            "queries_at_once": at_once,
            "ours_ms": 1.0,
            "generate_ms": speedup,
            "generate_batch": 1,
            "speedup": speedup,
            "equal": same,
            "queries": 3,
            "model_calls": 2.0,
            "search_share": 0.02,
            "mask_share": 0.01,
        }

    found = [measured("a", 1, 3.0, 3), measured("b", 1, 2.0, 3), measured("a", 8, 5.0, 2)]
    found += [{**m, "normaliser": "allowed"} for m in found]
    figures = decode.summarise(found)
    assert figures["single"]["speedup_vs_generate"] == 2.0
    assert figures["equal_hypotheses"] is False


def test_equal_lets_only_near_ties_swap() -> None:
    def ours(*scores: float) -> list[Hypothesis]:
        return [Hypothesis(n, (n, 1), s, s, 0, (1,), 0) for n, s in enumerate(scores)]

    same = [Written((0, 1), -1.0), Written((1, 1), -2.0)]
    assert equal(ours(-1.0, -2.0), same)
    assert not equal(ours(-1.0, -2.1), same)
    assert not equal(ours(-1.0), same)
    assert equal(ours(-1.0, -1.00005), [Written((1, 1), -1.0), Written((0, 1), -1.00005)])
    assert not equal(ours(-1.0, -2.0), [Written((1, 1), -1.0), Written((0, 1), -2.0)])


def test_pairs_are_timed_in_turn() -> None:
    order: list[str] = []
    ticks = iter(range(100))
    found, theirs, mine = pairs.in_turn(
        lambda i: order.append(f"other{i}") or i,
        lambda i: order.append(f"ours{i}") or -i,
        3,
        lambda: float(next(ticks)),
    )
    assert order == ["other0", "ours0", "ours1", "other1", "other2", "ours2"]
    assert (theirs, mine) == ([0, 1, 2], [0, -1, -2])
    assert pairs.median_speedup(found) == 1.0


def test_exhaustive_figures() -> None:
    rows = exhaustive.run(tiny_llama(), TASK, sizes=(5, 20, 1000), beam_size=20, queries=2)
    assert [r["sequences"] for r in rows] == [5, 20]  # there are no 1000
    assert all(r["top1"] == 1.0 and r["top5"] == 1.0 for r in rows)  # a beam as wide as the leaves


def test_trie_figures_and_mixed_titles(tmp_path: Path) -> None:
    seeds = Ragged.of([[*RNG.integers(2, 200, RNG.integers(1, 6)).tolist(), 1] for _ in range(500)])
    rows = trie.run(seeds, [200, 3000])
    assert [r["passages"] for r in rows] == [200, 3000]
    assert all(r["overhead_bytes_per_passage"] <= 24 for r in rows)
    assert all(r["step_us"] > 0 and r["open_s"] < 1 for r in rows)
    mixed = trie.mixed(seeds, 50)
    assert len(mixed) == 50 and set(mixed.values.tolist()) <= set(seeds.values.tolist())
    drawn.draw_trie(trie.summarise(rows), tmp_path / "trie.png")
    assert (tmp_path / "trie.png").stat().st_size > 10_000


CORPUS = Corpus.from_passages(
    Passage(f"{d}.{n}", f"Town {d}", f"{word} {d} stands in part {n} of the land.", d)
    for d in "abcd"
    for n, word in enumerate(("Old", "New", "Old"))
)


def test_the_released_way_finds_and_judges_the_same(tmp_path: Path) -> None:
    figures = bench.run("towns", CORPUS, ["which town", "new part"], tiny_folder(tmp_path), singles=2, batch_size=3)
    assert figures["equal"] == figures["queries"] == 2
    assert figures["candidates"] == 12
    assert figures["batch_speedup"] > 0
    whole = {"comparisons": [], "whole": [figures]}
    _, rows = drawn.decode_table(whole)
    assert [row[1] for row in rows] == ["1", "3", "1"] and all("12 passages judged" in row[0] for row in rows[:2])
    assert figures["common_passages"] == 1.0
    drawn.draw_decode(whole, tmp_path / "decode.svg")
    assert "<svg" in (tmp_path / "decode.svg").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="png"):
        drawn.draw_decode(whole, tmp_path / "decode.bmp")


def test_a_wrong_judgement_is_noticed(tmp_path: Path) -> None:
    from harness.types import Split
    from selfretrieval.retriever import SelfRetriever
    from selfretrieval.settings import SelfRetrievalSettings

    settings = {"backbone": tiny_folder(tmp_path), "training": {"tokens": 0}, "trim_vocabulary": False}
    retriever = SelfRetriever(
        SelfRetrievalSettings.model_validate({**settings, "lowercase": False, "dtype": "float32"})
    )
    retriever.index(CORPUS, Split("train"), Split("dev"))
    judged = retriever.explain(["which town"])[0]
    from selfretrieval.released import Released

    found = Released(*retriever.parts[:2], title_beams=5, passage_beams=10).search("which town")
    mine, theirs = [-1.0, -2.0], [-2.0, -1.00001]
    assert bench.agreement(mine, judged, theirs, found) == (True, 1.0, True)
    wrong = [f._replace(p_reject=f.p_reject + 0.01) for f in found]
    assert not bench.agreement(mine, judged, theirs, wrong).equal
    assert not bench.agreement(mine, judged, [-1.0, -2.1], found).equal
    assert not bench.agreement(mine, judged, [-1.0], found).equal
    assert not bench.agreement(mine, judged[:0], theirs, found).equal
    assert bench.agreement(mine, judged[:6], theirs, found).common == 0.5


def test_the_command_writes_json_and_refuses_bad_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "trie.json"
    assert main(["bench", "trie", "--sizes", "500,1000", "--json", str(out)]) == 0
    sizes = json.loads(out.read_text(encoding="utf-8"))["sizes"]
    assert [row["passages"] for row in sizes] == [500, 1000]
    assert set(sizes[0]) >= {"passages", "bytes_per_passage", "passages_per_minute", "open_s", "step_us"}
    assert "bytes a passage" in capsys.readouterr().out
    assert main(["bench", "trie", "--sizes", "ten"]) == 2
    assert "expected numbers of at least 1" in capsys.readouterr().err
