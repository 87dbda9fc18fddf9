"""What goes beyond the paper: any sentence, the prior, query likelihood and the log-linear ranking."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ConfigError
from harness.lm.backbone import load
from harness.lm.examples import Example
from harness.lm.lattice import Lattice
from harness.types import Corpus, Passage, Query, Split
from harness.validation import validated
from selfretrieval import SelfRetriever, prompts
from selfretrieval.assess import Assessment
from selfretrieval.evidence import Evidence, Question, Weights, fit, log_odds
from selfretrieval.generate import Candidate, Title, write_titles
from selfretrieval.judge import Verdict, combine
from selfretrieval.memory import Memory, later_sentences
from selfretrieval.prior import title_priors
from selfretrieval.settings import SelfRetrievalSettings
from tests.lm_models import logprobs_after, tiny_folder

SECOND = "It lies on the river Seine in France."
SHARED = "Nobody knows how old it really is."
CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Paris", f"Paris is the capital of all France. {SECOND} {SHARED}", "a"),
        Passage("a.1", "Paris", f"A town with many very old houses. {SHARED}", "a"),
        Passage("b.0", "Rome", "Rome is the capital of Italy and very old. The river there is called Tiber.", "b"),
        Passage("c.0", "Twin", "The same words twice in here. And then some more of them here.", "c"),
        Passage("d.0", "Twin", "The same words twice in here. And then some more of them here.", "d"),
    ]
)
RIVER = Query("q1", "which river", ("Seine",))
TRAIN = Split("train", (RIVER, Query("q2", "capital of Italy", ("Rome",))), {"q1": {"a.0": 1}, "q2": {"b.0": 1}})
DEV = Split("dev", TRAIN.queries, TRAIN.qrels)
JUDGES = {"likelihood": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def built(folder: str, **changes: Any) -> SelfRetriever:
    training = {"tokens": 1500, "frozen_layers": 0, "dtype": "float32"}
    given = {"backbone": folder, "training": training, "dtype": "float32", "prefix": "until unique", **changes}
    retriever = SelfRetriever(SelfRetrievalSettings.model_validate(given))
    retriever.index(CORPUS, TRAIN, DEV)
    return retriever


@pytest.fixture(scope="module")
def retriever(folder: str) -> SelfRetriever:
    return built(folder, reach="any sentence", prior=True, likelihood=True, ranking="log-linear", passage_beams=20)


def test_later_sentences_are_those_that_are_memorised() -> None:
    text = f"First one. {SECOND} Too short. {SHARED}"
    assert later_sentences(text) == [(SECOND, f"{SECOND} Too short. {SHARED}"), (SHARED, SHARED)]


def test_every_sentence_leads_to_its_passage(retriever: SelfRetriever) -> None:
    backbone, memory, _ = retriever.parts
    assert memory.passages == 5
    assert memory.rows.tolist() == [0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4]
    head = memory.sequences[0][: memory.heads[0]].tolist()
    for start, rows in ((f"{SECOND} {SHARED}", [(0,)]), (SHARED, [(0,), (1,)])):
        tokens = backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(start)])[0]
        node, depth = memory.trie.walk(head), 0
        while not memory.trie.accepts(np.array([node]))[0]:
            node = memory.trie.walk([[*tokens, backbone.end][depth]], node)
            depth += 1
        assert [written.rows for written in memory.written_at(node)] == rows
    twins = {written.rows for node in memory.nodes[[3, 9]].tolist() for written in memory.written_at(node)}
    assert twins == {(3, 4)}


def test_each_passage_is_a_candidate_once_and_is_judged_from_its_beginning(retriever: SelfRetriever) -> None:
    inner = []
    for query in ("river", "capital of Italy", ""):
        judged = retriever.explain([query])[0]
        assert sorted(j.candidate.items for j in judged) == [(0,), (1,), (2,), (3, 4)]
        inner += [(query, j) for j in judged if j.candidate.entry >= retriever.parts.memory.passages]
    assert inner
    for query, j in inner:
        plain = refusal(retriever, query, j.candidate.items[0])
        assert j.assessment is not None
        assert j.assessment.p_reject == pytest.approx(plain, rel=1e-3)


def refusal(retriever: SelfRetriever, query: str, row: int) -> float:
    backbone, memory, _ = retriever.parts
    text = backbone.encode([prompts.question(query)])[0] + backbone.encode([prompts.TITLE])[0]
    text = [*text, *memory.sequences[row][:-1].tolist(), *backbone.encode([prompts.ANSWER])[0]]
    return float(np.exp(np.mean(told(retriever, text, backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0]))))


def told(retriever: SelfRetriever, before: list[int], tokens: list[int]) -> list[float]:
    """Log-probability of each token, over the restricted vocabulary, one plain forward pass a token."""
    backbone, found = retriever.parts.backbone, []
    assert backbone.vocabulary is not None
    for token in tokens:
        step = logprobs_after(backbone, before)
        if backbone.column_of[token] >= 0:
            found.append(step[token] - np.logaddexp.reduce(step[backbone.vocabulary]))
        before = [*before, token]
    return found


def test_prior_and_likelihood_equal_plain_forward_passes(retriever: SelfRetriever) -> None:
    backbone, memory, _ = retriever.parts
    cue, asked = backbone.encode([prompts.TITLE])[0], backbone.encode([prompts.ASKED])[0]
    for j in retriever.explain(["which river"])[0]:
        entry, row = j.candidate.entry, j.candidate.items[0]
        head = [*cue, *memory.sequences[entry][: memory.heads[entry]].tolist()]
        target = memory.target(entry, int(memory.cuts()[entry]))
        assert j.evidence.prior == pytest.approx(sum(told(retriever, head, target)), abs=1e-3)
        text = [*cue, *memory.sequences[row][:-1].tolist(), *asked]
        question = backbone.encode_after(prompts.ASKED, [" which river"])[0]
        assert j.evidence.likelihood == pytest.approx(float(np.mean(told(retriever, text, question))), abs=1e-3)


def test_a_title_counts_for_what_the_question_adds_to_its_prior(retriever: SelfRetriever, tmp_path: Path) -> None:
    backbone, memory, _ = retriever.parts
    (end, *_), cue = backbone.encode([prompts.PASSAGE])[0], backbone.encode([prompts.TITLE])[0]
    plain = {memory.sequences[j.candidate.items[0]].tobytes(): j for j in retriever.explain(["which river"])[0]}
    asked = retriever.with_settings(title_prior=0.5)
    asked.save(tmp_path / "model")
    for one in (asked, SelfRetriever.load(tmp_path / "model")):
        for j in one.explain(["which river"])[0]:
            row = j.candidate.items[0]
            name = [*memory.sequences[row][: memory.heads[row] - len(memory.boundary) - 1].tolist(), end]
            unasked = sum(told(retriever, [*backbone.encode([prompts.question("")])[0], *cue], name))
            before = plain[memory.sequences[row].tobytes()].evidence.title
            assert j.evidence.title == pytest.approx(before - 0.5 * unasked, abs=2e-3)
            assert j.evidence.title_mean == pytest.approx(j.evidence.title / len(name))
    assert not len(memory.title_prior)


def test_titles_that_begin_alike_are_read_together(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Paris", "Paris at night", "Paris by day", "Rome", "Romeo", "Twin", "Twins", "Tower"]
    corpus = Corpus.from_passages([Passage(f"{n}", n, f"Number {i} of them all.", n) for i, n in enumerate(names)])
    backbone = load(folder)
    memory = Memory.build(corpus, backbone)
    whole = title_priors(backbone, memory)
    monkeypatch.setattr("selfretrieval.prior._TITLE_TOKENS", 1)
    parts = title_priors(backbone, memory)
    assert whole.node.tolist() == parts.node.tolist()
    np.testing.assert_allclose(whole.logprob, parts.logprob, atol=1e-4)


def test_many_titles_that_begin_alike_are_read_in_passes(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Paris", "Paris at night", "Paris by day", "Paris by night", "Parma"]
    corpus = Corpus.from_passages([Passage(f"{n}", n, f"Number {i} of them all.", n) for i, n in enumerate(names)])
    backbone, fed = load(folder), list[int]()
    memory = Memory.build(corpus, backbone)
    whole, feed = title_priors(backbone, memory), Lattice.feed

    def watched(self: Lattice, parents: Any, tokens: Any) -> Any:
        fed.append(len(tokens))
        return feed(self, parents, tokens)

    monkeypatch.setattr(Lattice, "feed", watched)
    monkeypatch.setattr("selfretrieval.prior._PASS_TOKENS", 7)
    parts = title_priors(backbone, memory)
    assert set(fed[:-1]) == {7} and 0 < fed[-1] <= 7 and sum(fed) == len(whole.node)
    np.testing.assert_allclose(whole.logprob, parts.logprob, atol=1e-4)


def test_passages_that_are_kept_judge_as_those_that_are_read_again(retriever: SelfRetriever) -> None:
    queries = ["which river", "capital of Italy", "which river"]
    forgetful = retriever.with_settings(passage_cache_gb=0.0)
    first, again = (forgetful.explain(queries) for _ in range(2))
    calls = forgetful.counters()["model_calls"]
    kept = retriever.with_settings(passage_cache_gb=1.0)
    kept.explain(queries)
    for found in (first, again, kept.explain(queries)):
        values = [[j.evidence.likelihood for j in judged] for judged in found]
        np.testing.assert_allclose(values, [[j.evidence.likelihood for j in judged] for judged in first], atol=1e-4)
    assert kept.counters()["model_calls"] < calls


def test_what_is_kept_of_a_passage_is_half_as_large_as_what_was_computed(retriever: SelfRetriever) -> None:
    backbone, memory, _ = retriever.parts
    lattice = Lattice(backbone)
    lattice.prefill([memory.sequences[0].tolist()])
    half = lattice.split(torch.float16)[0]
    assert 2 * half.nbytes == lattice.split()[0].nbytes
    again, slots = Lattice.joined([half], torch.float32)
    same, _ = Lattice.joined([lattice])
    token = np.array([int(memory.sequences[0][-1])])
    found, wanted = (one.feed(slots, token)[0] for one in (again, same))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-2)
    assert not np.array_equal(found.numpy(), wanted.numpy())


def test_the_answer_s_sentence_is_what_a_question_leads_to(folder: str) -> None:
    from harness.lm.examples import supervised_pairs
    from selfretrieval.examples import Views
    from selfretrieval.retriever import _later_targets

    retriever = built(folder, reach="any sentence")
    backbone, memory, corpus = retriever.parts
    views = Views(backbone, corpus, True, memory.cuts().tolist(), _later_targets(memory, corpus))
    river, italy = views.passage(supervised_pairs(TRAIN, CORPUS))
    first, last = river.spans[-1]
    assert backbone.decode(list(river.tokens[first:last])).strip() in SECOND
    assert "Rome is the capital" in backbone.decode(list(italy.tokens))
    sentence = next(e for e in views.memorise() if "seine" in backbone.decode(list(e.tokens[:40])))
    assert sentence.tokens[slice(*sentence.spans[-1])] == river.tokens[first:last]


def test_log_linear_scores_are_weighted_evidence_and_survive_saving(retriever: SelfRetriever, tmp_path: Path) -> None:
    weighted = retriever.with_settings(weights={"title": 0.0, "passage": 2.0, "prior": -1.0})
    for j in weighted.explain(["capital"])[0]:
        assert j.score == pytest.approx(2 * j.evidence.passage - j.evidence.prior)
    weighted.save(tmp_path)
    again = SelfRetriever.load(tmp_path)
    before, after = weighted.search(["capital"], 9)[0], again.search(["capital"], 9)[0]
    assert [h.docid for h in before] == [h.docid for h in after]
    assert [h.score for h in before] == pytest.approx([h.score for h in after])


def test_weights_are_found_on_dev(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfretrieval.evidence.ENOUGH", 2)
    plain = built(folder, ranking="log-linear")
    fitted = built(folder, ranking="log-linear", calibration_queries=2)
    assert plain.settings.weights == Weights()
    assert fitted.settings.weights != Weights()


def test_fit_finds_the_evidence_that_tells(seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    questions = []
    for _ in range(60):
        values, gold = rng.normal(size=(5, 6)), int(rng.integers(5))
        values[gold, 4] += 3.0  # acceptance tells
        values[:, 5] = 1.0  # the same for all
        questions.append(Question([Evidence(*row) for row in values.tolist()], [i == gold for i in range(5)]))
    weights = fit(questions, Weights())
    assert weights.acceptance > 4 * max(abs(weights.title), abs(weights.passage), abs(weights.prior))
    assert weights.likelihood == 0.0
    assert fit(questions[:3], Weights(title=7.0)) == Weights(title=7.0)


def test_log_odds_are_bounded() -> None:
    assert log_odds(0.5) == 0.0
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0))
    assert 10 < log_odds(0.0) < 20


def test_unknown_reach_is_refused(retriever: SelfRetriever) -> None:
    with pytest.raises(ConfigError, match="reach"):
        retriever.with_settings(reach="every word")


@pytest.mark.parametrize("ranking", ["paper", "log-linear"])
def test_what_is_not_judged_ranks_below_in_the_order_of_its_scores(retriever: SelfRetriever, ranking: str) -> None:
    every = retriever.with_settings(ranking=ranking).explain(["capital"])[0]
    few = retriever.with_settings(ranking=ranking, judged=2).explain(["capital"])[0]
    likely = sorted(every, key=lambda j: -(j.evidence.title + j.evidence.passage))
    read = [j for j in few if j.judged]
    assert {j.candidate.items for j in read} == {j.candidate.items for j in likely[:2]}
    assert len(few) == len(every)
    assert all(j.assessment is None and j.evidence.likelihood == 0 for j in few if not j.judged)
    assert max(j.score for j in few if not j.judged) < min(j.score for j in read)


@pytest.mark.parametrize("ranking", ["paper", "log-linear"])
def test_an_unread_passage_of_the_best_title_ranks_below_a_read_one_of_a_poor_title(ranking: str) -> None:
    titles = [Title(0, 1, -0.1, -0.1, 0, 1, ()), Title(0, 2, -2.0, -2.0, 0, 1, ())]
    unread, other, read = (
        Candidate(0, t, (i,), 0, 0, -1.0, lp, i) for i, (t, lp) in enumerate([(0, -1), (0, -2), (1, -1)])
    )
    verdicts = [
        Verdict(unread, False, None, 0.0),
        Verdict(other, False, None, 0.0),
        Verdict(read, True, Assessment(0.5, 0.5), 0.0),
    ]
    settings = SelfRetrievalSettings.model_validate({"ranking": ranking})
    first, second, last = combine(settings, titles, verdicts, np.zeros(0))
    assert last.score > first.score >= second.score


def test_all_passages_of_a_title_are_judged_as_if_they_were_written(retriever: SelfRetriever, tmp_path: Path) -> None:
    written = {j.candidate.items: j for j in retriever.explain(["which river"])[0]}
    listed = retriever.with_settings(candidates="all", weights=JUDGES)
    listed.save(tmp_path / "model")
    for one in (listed, SelfRetriever.load(tmp_path / "model")):
        found = one.explain(["which river"])[0]
        assert sorted(j.candidate.items for j in found) == [(0,), (1,), (2,), (3, 4)]
        for j in found:
            other = written[j.candidate.items]
            assert (j.evidence.passage, j.evidence.prior) == (0, 0)
            assert j.evidence.title == pytest.approx(other.evidence.title, abs=1e-4)
            assert j.evidence.likelihood == pytest.approx(other.evidence.likelihood, abs=1e-4)
            assert j.assessment is not None
            assert other.assessment is not None
            assert j.assessment.p_reject == pytest.approx(other.assessment.p_reject, rel=1e-3)


@pytest.mark.parametrize("enough", [1, 2, 3])
@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_passages_are_taken_title_by_title_until_there_are_enough(
    retriever: SelfRetriever, enough: int, prior: float
) -> None:
    queries = ["which river", "capital of Italy"]
    listed = retriever.with_settings(candidates="all", title_prior=prior, weights=JUDGES)
    every, some = listed.explain(queries), listed.with_settings(judged=enough).explain(queries)
    for all_found, found in zip(every, some, strict=True):
        order = sorted(all_found, key=lambda j: (-j.evidence.title_mean, j.candidate.entry))
        assert [j.candidate.items for j in found] == [j.candidate.items for j in order[:enough]]
        assert all(j.judged for j in found)


def test_hits_are_in_the_order_of_the_likelihood_where_it_alone_counts(retriever: SelfRetriever) -> None:
    alone = {"title": 0.0, "passage": 0.0, "likelihood": 1.0}
    one = retriever.with_settings(candidates="all", assessment=False, weights=alone)
    (judged,), (hits,) = one.explain(["which river"]), one.search(["which river"], 10)
    told = {row: j.evidence.likelihood for j in judged for row in j.candidate.items}
    assert [told[CORPUS.row_of[hit.docid]] for hit in hits] == sorted(told.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(sorted(told.values(), reverse=True))
    assert len(set(told.values())) == 4  # twins are the same passage


@pytest.mark.parametrize(
    "changes",
    [{"titles": False}, {"assessment": False, "likelihood": False}, {"assessment": False, "ranking": "paper"}],
)
def test_all_passages_need_titles_and_a_judge(retriever: SelfRetriever, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="needs titles, and assessment, or likelihood"):
        retriever.with_settings(candidates="all", **changes)


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, False),
        ({"likelihood": True}, False),
        ({"weights": {"likelihood": 1.0}}, False),  # nobody asks for it
        ({"assessment": False, "likelihood": True, "weights": {"acceptance": 1.0}}, False),
        ({"likelihood": True, "weights": {"likelihood": 0.1}}, True),
        ({"weights": {"acceptance": -0.1}}, True),
        ({"calibration_queries": 5}, True),
        ({"ranking": "paper"}, True),
        ({"candidates": "written"}, True),
    ],
)
def test_passages_that_nobody_wrote_need_a_judge_with_a_say(changes: dict[str, object], taken: bool) -> None:
    table = {"candidates": "all", "ranking": "log-linear", **changes}
    if taken:
        validated(SelfRetrievalSettings, table, "a test")
        return
    with pytest.raises(ConfigError, match="a judge with a say"):
        validated(SelfRetrievalSettings, table, "a test")


@pytest.mark.parametrize("assessment", [True, False])
@pytest.mark.parametrize("per_title", [True, False])
def test_scores_that_round_to_nothing_keep_their_order(assessment: bool, per_title: bool) -> None:
    """Titles against their prior reach such scores, and so do small temperatures."""
    titles = [Title(0, i + 1, value, value, 0, 1, ()) for i, value in enumerate((-0.1, -0.2, -0.3))]
    rejected = [0.5, 0.1, 0.9, 0.4, 0.2, 0.6]
    verdicts = [
        Verdict(Candidate(0, i // 2, (i,), 0, 0, -1.0 - i % 2, -1.0, i), True, Assessment(p, p), 0.0)
        for i, p in enumerate(rejected)
    ]

    def judged(tau: float) -> list[Any]:
        table = {"tau": tau, "delta": tau, "softmax_per_title": per_title, "assessment": assessment}
        return combine(SelfRetrievalSettings.model_validate(table), titles, verdicts, np.zeros(0))

    usual, cold = judged(0.4), judged(1e-5)
    assert [j.score for j in usual] == [j.title_score * j.passage_score for j in usual]
    assert sum(j.title_score * j.passage_score == 0 for j in cold) > 1
    assert len({j.score for j in cold}) == len(cold)
    shown = [j for j in cold if j.title_score * j.passage_score > 0]
    assert [j.score for j in shown] == [j.title_score * j.passage_score for j in shown]
    logs = [math.exp(titles[i // 2].score) / 1e-5 for i in range(6)]
    if not assessment:  # under each title in turn
        order = sorted(range(6), key=lambda i: (-logs[i], i % 2))
    elif per_title:
        order = sorted(
            range(6), key=lambda i: -logs[i] - (1 - rejected[i] - max(1 - p for p in two(rejected, i))) / 1e-5
        )
    else:
        order = sorted(range(6), key=lambda i: -logs[i] - (1 - rejected[i]) / 1e-5)
    assert sorted(range(6), key=lambda i: -cold[i].score) == order


def two(values: list[float], place: int) -> list[float]:
    """Return the values of the title a place belongs to."""
    return values[place // 2 * 2 : place // 2 * 2 + 2]


def test_where_nothing_judges_all_are_ranked_by_what_was_written(retriever: SelfRetriever) -> None:
    plain = retriever.with_settings(assessment=False, likelihood=False, ranking="paper", title_beams=4)
    few = plain.with_settings(judged=1)
    queries = ["which river", "who wrote it", "x"]
    assert few.search(queries, 100) == plain.search(queries, 100)


@pytest.mark.parametrize(("asked", "written"), [(64, 10), (3, 3)])
def test_while_training_at_most_ten_titles_are_written_and_passages_too(
    folder: str, monkeypatch: pytest.MonkeyPatch, asked: int, written: int
) -> None:
    beams: list[int] = []

    def watched(*given: Any, **more: Any) -> Any:
        beams.append(given[4])
        return write_titles(*given, **more)

    def refused(*given: Any) -> Any:
        raise AssertionError("listed while training")

    monkeypatch.setattr("selfretrieval.retriever.write_titles", watched)
    monkeypatch.setattr("selfretrieval.retriever.list_passages", refused)
    training = {"tokens": 1500, "frozen_layers": 0, "dtype": "float32", "dev_evaluations": 1}
    listed = {"candidates": "all", "likelihood": True, "ranking": "log-linear", "weights": JUDGES}
    one = built(folder, training=training, title_beams=asked, **listed)
    assert set(beams) == {written}
    with pytest.raises(AssertionError, match="listed while training"):
        one.search(["which river"], 3)
    assert beams[-1] == asked


@pytest.mark.parametrize("titles", [True, False])
def test_questions_of_a_batch_are_searched_as_if_alone(folder: str, titles: bool) -> None:
    one = built(folder, titles=titles, passage_beams=20)
    queries = ["river", "capital of Italy", "which old town"]
    for query, together in zip(queries, one.explain(queries), strict=True):
        alone = {j.candidate.items: j.evidence for j in one.explain([query])[0]}
        assert {j.candidate.items for j in together} == set(alone)
        for j in together:
            assert j.evidence.passage == pytest.approx(alone[j.candidate.items].passage, abs=1e-3)


def budget(folder: str, passes: float | None, **shares: float) -> tuple[list[Example], int]:
    """Return what is trained on, and how often the judge's questions are among it."""
    shares = {"memorise": 0.5, "title": 0.1, "passage": 0.0, "content": 0.0, "recall": 0.0, "likelihood": 0.4} | shares
    given = {"tokens": 4000, "frozen_layers": 0}
    table = {"training": given, "likelihood": True, "assessment": False, "shares": {**shares, "assess": 0.0}}
    settings = SelfRetrievalSettings.model_validate({**table, "ranking": "log-linear", "likelihood_passes": passes})
    backbone, _, examples = SelfRetriever(settings).lessons(load(folder), CORPUS, TRAIN)
    cue = tuple(backbone.encode([prompts.ASKED])[0])
    asked = [e for e in examples if any(e.tokens[i : i + len(cue)] == cue for i in range(len(e.tokens)))]
    return examples, len(asked)


def tokens_of(examples: list[Example]) -> int:
    return sum(len(e.tokens) for e in examples)


def test_training_ends_before_the_judge_s_questions_come_too_often(folder: str) -> None:
    whole, often = budget(folder, None)
    ended, asked = budget(folder, 3)
    assert often > 3 * len(TRAIN) == asked
    assert tokens_of(ended) == pytest.approx(tokens_of(whole) * asked / often, rel=0.1)  # of every view alike


def test_passes_that_are_never_reached_change_nothing(folder: str) -> None:
    whole, often = budget(folder, None)
    assert budget(folder, often) == (whole, often)
    assert budget(folder, 1, likelihood=0.0)[0] == budget(folder, None, likelihood=0.0)[0]


def test_results_without_a_limit_of_passes_keep_the_fingerprint_they_had() -> None:
    settings = SelfRetrievalSettings()
    assert "likelihood_passes" not in settings.model_dump(mode="json")
    limited = settings.model_copy(update={"likelihood_passes": 1.5}).model_dump(mode="json")
    assert SelfRetrievalSettings.model_validate(limited).likelihood_passes == 1.5


def test_passages_it_keeps_are_counted_apart_from_the_index(folder: str) -> None:
    one = built(folder, likelihood=True, ranking="log-linear")
    before = one.footprint()
    one.search(["which river"], 3)
    after = one.footprint()
    assert (after.index_bytes, after.parameter_bytes) == (before.index_bytes, before.parameter_bytes)
    assert before.cache_bytes == 0 < after.cache_bytes
    read = {j.candidate.items[0] for j in one.explain(["which river"])[0]}
    assert after.cache_bytes == sum(one.reader()._kept[entry].nbytes for entry in read)
