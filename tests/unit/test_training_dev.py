"""Measuring on dev queries while training: it disturbs nothing, and the best weights are those that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.dsi import Dsi, DsiSettings
from harness.datasets.sampling import sample
from harness.lm.backbone import Backbone
from harness.lm.beam import constrained_search
from harness.lm.dev import DevSearch, dev_search
from harness.lm.examples import Example
from harness.lm.training import TrainingSettings, train
from harness.lm.trie import TokenTrie
from harness.retriever import Resumable
from harness.types import Corpus, Hit, Passage, Query, Split
from selfretrieval.retriever import SelfRetrievalSettings, SelfRetriever
from tests.lm_models import Kept, tiny_folder, tiny_gpt2, tiny_llama

EXAMPLES = [Example((5, 6, 7, 8, 9), ((3, 5),)), Example((9, 3, 4), ((1, 3),)), Example((2, 8, 7, 6), ((1, 4),))] * 12
QUICK = TrainingSettings(
    frozen_layers=1, dtype="float32", batch_tokens=24, row_tokens=12, learning_rate=1e-2, dev_evaluations=4
)
TRIE = TokenTrie.from_sequences([[5, 1], [6, 7, 1], [8, 9, 3, 1]])


class Scripted:
    """Scores as told; remembers the weights it saw, and does all a search might do to a model and the generators."""

    measure, identity = "RR@5", ""

    def __init__(self, backbone: Backbone, *scores: float) -> None:
        self._backbone, self._scores = backbone, list(scores)
        self.seen: list[dict[str, torch.Tensor]] = []
        self.found: list[list[float]] = []

    def score(self) -> float:
        model = self._backbone.model
        assert not model.training
        self.seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        torch.rand(7)
        by_facts = constrained_search(Backbone.of(model), [[5, 6], [9]], TRIE, beam_size=3)
        afresh = constrained_search(Backbone(model, None), [[5, 6], [9]], TRIE, beam_size=3)
        assert by_facts == afresh, "searched with weights of an earlier moment"
        self.found.append([h.logprob for found in by_facts for h in found])
        return self._scores.pop(0)


def with_dropout() -> Backbone:
    return Backbone(tiny_gpt2(), tiny_llama().tokenizer)


def parameters(backbone: Backbone) -> dict[str, torch.Tensor]:
    return dict(backbone.model.named_parameters())


@pytest.mark.parametrize("make", [tiny_llama, with_dropout])
def test_evaluating_does_not_change_what_is_learned(make: Any) -> None:
    without, with_, log = make(), make(), Kept()
    train(without, EXAMPLES, QUICK, seed=1)
    last = QUICK.model_copy(update={"keep_best": False})
    seen = Scripted(with_, 0.1, 0.4, 0.3, 0.2)
    train(with_, EXAMPLES, last, seed=1, evaluate=seen, progress=log)
    assert all(torch.equal(a, parameters(with_)[name]) for name, a in parameters(without).items())
    assert len({tuple(found) for found in seen.found}) == 4, "every search saw other weights"


def test_the_best_weights_stay() -> None:
    backbone, log = tiny_llama(), Kept()
    seen = Scripted(backbone, 0.1, 0.4, 0.4, 0.3)
    summary = train(backbone, EXAMPLES, QUICK, evaluate=seen, progress=log)
    assert all(torch.equal(p, seen.seen[2][name]) for name, p in parameters(backbone).items()), "of equals the later"
    assert any(not torch.equal(p, seen.seen[1][name]) for name, p in parameters(backbone).items())
    assert any(not torch.equal(p, seen.seen[3][name]) for name, p in parameters(backbone).items())
    measured = [row for row in log.rows if "dev_RR@5" in row]
    assert [row["dev_RR@5"] for row in measured] == [0.1, 0.4, 0.4, 0.3]
    assert (summary.best_score, summary.best_tokens) == (0.4, measured[2]["tokens"])
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_evaluations_are_evenly_spaced_and_end_with_the_last_step() -> None:
    backbone, log = tiny_llama(), Kept()
    train(backbone, EXAMPLES, QUICK, evaluate=Scripted(backbone, 1, 2, 3, 4), progress=log)
    steps = len([row for row in log.rows if "loss" in row])
    measured = [row["step"] + 1 for row in log.rows if "dev_RR@5" in row]
    assert measured == [round(steps * i / 4) for i in (1, 2, 3, 4)]
    assert log.rows[-1]["step"] == steps - 1 and "dev_RR@5" in log.rows[-1]


def test_the_time_of_evaluations_is_told_apart() -> None:
    """Each reading of the clock is a second later, and an evaluation takes a hundred more."""
    backbone, now = tiny_llama(), [0.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    class Slow(Scripted):
        def score(self) -> float:
            now[0] += 100
            return super().score()

    log = Kept()
    summary = train(backbone, EXAMPLES, QUICK, evaluate=Slow(backbone, 1, 2, 3, 4), clock=clock, progress=log)
    assert summary.seconds == len([row for row in log.rows if "loss" in row])
    assert summary.evaluation_s == 4 * 101
    assert summary.tokens_per_s == summary.tokens / summary.seconds
    assert summary.figures() == {
        "train_tokens": summary.tokens,
        "tokens_per_s": summary.tokens_per_s,
        "dev_score": 4,
        "dev_tokens": summary.tokens,
        "dev_s": 404,
    }


def test_nothing_is_evaluated_unless_asked_for() -> None:
    backbone = tiny_llama()
    summary = train(backbone, EXAMPLES, QUICK.model_copy(update={"dev_evaluations": 0}), evaluate=Scripted(backbone))
    assert summary.best_score is None and "dev_score" not in summary.figures()


DEV = Split("dev", tuple(Query(f"q{i}", f"text {i}") for i in range(9)), {f"q{i}": {f"d{i}": 1} for i in range(9)})


def test_dev_search_is_the_mean_reciprocal_rank_of_a_sample() -> None:
    class Second:
        def search(self, queries: Any, k: int) -> list[list[Hit]]:
            assert k == 5
            return [[Hit("no", 2.0), Hit("d" + text.split()[1], 1.0)] if text != "text 3" else [] for text in queries]

    whole = DevSearch(DEV, Second)
    assert whole.score() == pytest.approx(0.5 * 8 / 9)
    few = dev_search(QUICK.model_copy(update={"dev_queries": 4}), DEV, Second)
    assert few is not None and few.dev == sample(DEV, 4) and len(few.dev) == 4
    assert few.identity != whole.identity == DevSearch(DEV, Second).identity
    assert dev_search(QUICK, Split("dev"), Second) is None
    assert dev_search(QUICK.model_copy(update={"dev_evaluations": 0}), DEV, Second) is None


CORPUS = Corpus.from_passages(
    Passage(f"d{i}", f"Title {i}", f"The sentence number {i} has some more words in it.", f"d{i}") for i in range(9)
)


def built(system: str, folder: str, dev: Split, **changes: object) -> tuple[Any, Kept]:
    training = {"tokens": 1500, "batch_tokens": 200, "frozen_layers": 0, "dtype": "float32", "dev_evaluations": 3}
    table = {"backbone": folder, "training": training, "dtype": "float32", **changes}
    kinds: dict[str, Any] = {
        "dsi": lambda: Dsi(DsiSettings.model_validate({**table, "docid": "naive"})),
        "self-retrieval": lambda: SelfRetriever(SelfRetrievalSettings.model_validate(table)),
    }
    retriever, log = kinds[system](), Kept()
    retriever.index(CORPUS, DEV, dev, log)
    return retriever, log


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("system", ["dsi", "self-retrieval"])
def test_systems_end_with_the_weights_that_searched_best(system: str, folder: str) -> None:
    """The score that was logged for the weights kept is what searching with them gives in the end."""
    changes = {"dev_assessment": True} if system == "self-retrieval" else {}
    retriever, log = built(system, folder, DEV, **changes)
    scores = [row["dev_RR@5"] for row in log.rows if "dev_RR@5" in row]
    assert len(scores) == 3
    assert DevSearch(DEV, lambda: retriever).score() == pytest.approx(max(scores))
    assert retriever.training_summary()["dev_score"] == max(scores)
    assert isinstance(retriever, Resumable)


@pytest.mark.parametrize("system", ["dsi", "self-retrieval"])
def test_without_dev_queries_nothing_is_searched(system: str, folder: str) -> None:
    retriever, log = built(system, folder, Split("dev"))
    assert not any("dev_RR@5" in row for row in log.rows)
    assert "dev_score" not in retriever.training_summary()


def test_passages_are_judged_while_training_only_where_asked_for(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfretrieval import retriever as module

    judged = []
    plain = module.assess
    monkeypatch.setattr(module, "assess", lambda *given: judged.append(1) or plain(*given))
    built("self-retrieval", folder, DEV)
    assert not judged
    built("self-retrieval", folder, DEV, dev_assessment=True)
    assert judged


def test_a_stopped_index_goes_on(folder: str, tmp_path: Path) -> None:
    """Stopped behind its second evaluation; what it kept is enough to end as if it had not been."""

    class Stopping(Kept):
        def record(self, row: dict[str, Any]) -> None:
            super().record(row)
            if len([r for r in self.rows if "dev_RR@5" in r]) == 2 and "loss" in row:
                raise KeyboardInterrupt

    training = {"tokens": 1500, "frozen_layers": 0, "dtype": "float32", "dev_evaluations": 3, "batch_tokens": 200}
    training |= {"checkpoint_s": 0}
    table = {"backbone": folder, "training": training, "dtype": "float32", "docid": "naive"}

    def index(log: Kept) -> Dsi:
        dsi = Dsi(DsiSettings.model_validate(table))
        dsi.keep_training_in(tmp_path / "kept")
        dsi.index(CORPUS, DEV, DEV, log)
        return dsi

    with pytest.raises(KeyboardInterrupt):
        index(Stopping())
    log, whole = Kept(), Dsi(DsiSettings.model_validate(table))
    resumed = index(log)
    expected = Kept()
    whole.index(CORPUS, DEV, DEV, expected)
    assert resumed.search(["text 1", "text 5"], 9) == whole.search(["text 1", "text 5"], 9)
    assert [(r["step"], r.get("loss"), r.get("dev_RR@5")) for r in log.rows] == [
        (r["step"], r.get("loss"), r.get("dev_RR@5")) for r in expected.rows
    ]
