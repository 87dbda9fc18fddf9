"""Self-Retrieval end to end on a tiny random model, each stage against a plain forward pass over the whole text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError, DataError, HarnessError, RunFolderError
from harness.lm.backbone import Backbone, load
from harness.retriever import Beamed
from harness.types import Corpus, Passage, Query, Split
from selfretrieval import SelfRetriever, prompts, score
from selfretrieval.examples import Views, draw_negatives
from selfretrieval.judge import Judged
from selfretrieval.settings import SelfRetrievalSettings
from tests.lm_models import logprobs_after, tiny_folder

CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Paris", "Paris is the capital of France.", "a"),
        Passage("a.1", "Paris", "Paris lies on the river Seine.", "a"),
        Passage("b.0", "Rome", "Rome is the capital of Italy and very old indeed.", "b"),
        Passage("c.0", "Rome", "Rome, New York, is a city.", "c"),
        Passage("d.0", "Twin", "The same words twice.", "d"),
        Passage("e.0", "Twin", "The same words twice.", "e"),
        Passage("f.0", "", "No title here but some words.", "f"),
    ]
)
TRAIN = Split(
    "train",
    (Query("q1", "capital of France", ("Paris",)), Query("q2", "a city in New York")),
    {"q1": {"a.0": 2, "a.1": 1}, "q2": {"c.0": 1}},
)
NOBODY = Split("dev")
QUERIES = ["capital of Italy", "", "a much longer question about the words of a river"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def built(folder: str, **changes: Any) -> SelfRetriever:
    training = {"tokens": 1500, "frozen_layers": 0, "dtype": "float32"}
    given = {"backbone": folder, "training": training, "dtype": "float32", **changes}
    retriever = SelfRetriever(SelfRetrievalSettings.model_validate(given))
    retriever.index(CORPUS, TRAIN, NOBODY)
    return retriever


@pytest.fixture(scope="module")
def retriever(folder: str) -> SelfRetriever:
    return built(folder)


def backbone_of(retriever: SelfRetriever) -> Backbone:
    return retriever._ready().backbone


def full_vocabulary_logprob(backbone: Backbone, left: str, right: list[int]) -> list[float]:
    """Log-probability of each token of `right` behind `left`, over the restricted vocabulary, token by token."""
    tokens, found = backbone.encode([left])[0], []
    for token in right:
        step = logprobs_after(backbone, tokens)
        assert backbone.vocabulary is not None
        found.append(step[token] - np.logaddexp.reduce(step[backbone.vocabulary]))
        tokens = [*tokens, token]
    return found


def parts(judged: Judged) -> tuple[int, float, float]:
    assert judged.assessment is not None
    return judged.candidate.items[0], judged.assessment.p_reject, judged.title_score


@pytest.mark.parametrize("query", QUERIES)
def test_every_score_equals_plain_forward_passes(retriever: SelfRetriever, query: str) -> None:
    backbone = backbone_of(retriever)
    (found,) = retriever.explain([query])
    left = prompts.question(query) + prompts.TITLE
    boundary = backbone.encode([prompts.PASSAGE])[0]
    refusal = backbone.encode([prompts.REJECT])[0]
    titles: dict[str, float] = {}
    for row, p_reject, _ in map(parts, found):
        passage = CORPUS[row]
        title = prompts.title_of(passage.title, passage.text)
        written = [*backbone.encode([title])[0], boundary[0]]
        titles[title] = float(np.mean(full_vocabulary_logprob(backbone, left, written)))
        whole = left + title + prompts.PASSAGE + prompts.passage_of(passage.text) + prompts.ANSWER
        wanted = np.exp(np.mean(full_vocabulary_logprob(backbone, whole, refusal)))
        assert p_reject == pytest.approx(wanted, rel=1e-3)
    weights = {t: np.exp(np.exp(value) / score.TAU) for t, value in titles.items()}
    for row, _, title_score in map(parts, found):
        title = prompts.title_of(CORPUS[row].title, CORPUS[row].text)
        assert title_score == pytest.approx(weights[title] / sum(weights.values()), rel=1e-3)
    accepted = np.array([np.exp((1 - p) / score.DELTA) for _, p, _ in map(parts, found)])
    np.testing.assert_allclose([j.passage_score for j in found], accepted / accepted.sum(), rtol=1e-3)


def test_beams_as_wide_as_the_corpus_reach_every_passage(retriever: SelfRetriever) -> None:
    for hits in retriever.search(QUERIES, 100):
        assert {hit.docid for hit in hits} == set(CORPUS.docids)
        assert [(hit.title, hit.text) for hit in hits] == [CORPUS[CORPUS.row_of[h.docid]][1:3] for h in hits]


def test_copies_share_a_score_and_homonyms_do_not_hide_each_other(retriever: SelfRetriever) -> None:
    (hits,) = retriever.search(["twice"], 100)
    scores = {hit.docid: hit.score for hit in hits}
    assert scores["d.0"] == scores["e.0"]
    assert {"b.0", "c.0"} <= set(scores)


def test_batch_size_and_order_change_nothing(folder: str, retriever: SelfRetriever) -> None:
    together = retriever.search(QUERIES, 5)
    for query, hits in zip(QUERIES, together, strict=True):
        (alone,) = retriever.search([query], 5)
        assert [h.docid for h in alone] == [h.docid for h in hits]
        assert [h.score for h in alone] == pytest.approx([h.score for h in hits], rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"indexing": False},
        {"titles": False},
        {"assessment": False},
        {"titles": False, "assessment": False},
        {"prefix": "until unique", "curriculum": "mixed", "lowercase": False, "masked_sentences": True},
        {"trim_vocabulary": False, "softmax_per_title": True, "assessment_score": "first"},
    ],
)
def test_each_part_can_be_switched_off(folder: str, changes: dict[str, Any]) -> None:
    retriever = built(folder, **changes)
    for hits in retriever.search(QUERIES, 3):
        assert len({hit.docid for hit in hits}) == 3
    assert (retriever.explain(["x"])[0][0].assessment is None) == (changes.get("assessment") is False)
    assert retriever.counters()["invalid_docids"] == 0


def test_without_indexing_no_sentence_is_trained_on(folder: str) -> None:
    tokens = built(folder, indexing=False, training={"tokens": 900, "frozen_layers": 0}).training_summary()
    assert 0 < tokens["train_tokens"] <= 900


def test_search_is_the_same_before_and_after_saving_in_bfloat16(folder: str, tmp_path: Path) -> None:
    retriever = built(folder, dtype="bfloat16")
    retriever.save(tmp_path)
    assert SelfRetriever.load(tmp_path).search(QUERIES, 5) == retriever.search(QUERIES, 5)


def test_without_assessment_titles_keep_their_order(folder: str) -> None:
    retriever = built(folder, assessment=False)
    for judged in retriever.explain(QUERIES):
        for title in {j.candidate.title for j in judged}:
            assert max(j.passage_score for j in judged if j.candidate.title == title) == 1.0


def loaded_with(retriever: SelfRetriever, folder: Path, **settings: int) -> SelfRetriever:
    """Save a retriever, change settings in its file, and load it."""
    retriever.save(folder)
    path = folder / "self_retrieval.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**state, "settings": {**state["settings"], **settings}}), encoding="utf-8")
    return SelfRetriever.load(folder)


@pytest.mark.parametrize(("size", "written"), [(1, 1), (2, 2), (50, 4)])
def test_another_beam_of_titles_is_what_loading_with_that_setting_gives(
    retriever: SelfRetriever, tmp_path: Path, size: int, written: int
) -> None:
    """Sizes: greedy, in between, and wider than the four titles."""
    assert isinstance(retriever, Beamed)
    before = retriever.search(QUERIES, 100)
    other = retriever.with_beam_size(size)
    assert other.search(QUERIES, 100) == loaded_with(retriever, tmp_path, title_beams=size).search(QUERIES, 100)
    assert [len({j.candidate.title for j in judged}) for judged in other.explain(QUERIES)] == [written] * 3
    assert retriever.search(QUERIES, 100) == before
    assert other._ready() is retriever._ready()


def test_without_titles_the_beam_is_that_of_passages(folder: str, tmp_path: Path) -> None:
    trained = built(folder, titles=False)
    (hits,) = trained.with_beam_size(2).search(QUERIES[:1], 100)
    assert [hits] == loaded_with(trained, tmp_path, passage_beams=2).search(QUERIES[:1], 100)
    assert len(hits) < len(trained.search(QUERIES[:1], 100)[0])


def test_no_beam_is_refused(retriever: SelfRetriever) -> None:
    with pytest.raises(ConfigError, match="title_beams"):
        retriever.with_beam_size(0)


def test_one_passage(folder: str) -> None:
    retriever = SelfRetriever(SelfRetrievalSettings.model_validate({"backbone": folder, "training": {"tokens": 0}}))
    retriever.index(Corpus.from_passages([CORPUS[0]]), Split("train"), NOBODY)
    assert [h.docid for h in retriever.search(["anything"], 10)[0]] == ["a.0"]


FRESH = """
import json, sys
from selfretrieval import SelfRetriever
print(json.dumps(SelfRetriever.load(sys.argv[1]).search(json.loads(sys.argv[2]), k=5)))
"""


def test_a_saved_model_answers_in_a_fresh_process(retriever: SelfRetriever, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    retriever.save(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.model_type == "llama"
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path), json.dumps(QUERIES)], capture_output=True, text=True, check=True
    )
    for hits, other in zip(retriever.search(QUERIES, 5), json.loads(done.stdout), strict=True):
        assert [h.docid for h in hits] == [o[0] for o in other]
        assert [h.score for h in hits] == pytest.approx([o[1] for o in other], rel=1e-4)
        assert [[h.title, h.text] for h in hits] == [o[2:] for o in other]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        SelfRetriever.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"titles": False},
        {"reach": "any sentence"},
        {"lowercase": False},
        {"prefix": "until unique"},
        {"passage_tokens": 64},
        {"backbone": "embedded"},
        {"trim_vocabulary": False},
        {"indexing": False},
        {"dtype": "bfloat16"},
        {"training": {"tokens": 7}},
        {"shares": {"title": 0.5}},
    ],
)
def test_what_was_trained_cannot_be_changed_by_searching(retriever: SelfRetriever, changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=f"other {name} than this system was trained"):
        retriever.with_settings(**changes)
    same = retriever.settings.model_dump(mode="json")[name]
    assert retriever.with_settings(**{name: same, "tau": 0.5}).settings.tau == 0.5


DAMAGE: list[tuple[str, bytes | None, type[HarnessError]]] = [
    ("trie/offsets.npy", None, DataError),
    ("trie/boundary.npy", b"", DataError),
    ("trie/trie.json", None, DataError),
    ("model.safetensors", b"cut short", DataError),
    ("corpus.arrow", None, RunFolderError),
    ("corpus.arrow", b"no Arrow", RunFolderError),
]


@pytest.mark.parametrize(("file", "content", "error"), DAMAGE)
def test_a_damaged_model_is_one_clear_error(
    retriever: SelfRetriever, tmp_path: Path, file: str, content: bytes | None, error: type[HarnessError]
) -> None:
    retriever.save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(error):
        SelfRetriever.load(tmp_path)


def test_settings_of_a_newer_version_are_named(retriever: SelfRetriever, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the unknown key depth_of_thought"):
        loaded_with(retriever, tmp_path, depth_of_thought=3)
    (tmp_path / "self_retrieval.json").write_text('{"version": 3, "seed": 0}', encoding="utf-8")
    with pytest.raises(RunFolderError, match="to name settings"):
        SelfRetriever.load(tmp_path)


def test_a_question_and_a_passage_longer_than_the_backbone_reads_are_refused(
    retriever: SelfRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, memory, _ = retriever.parts
    prompt = len(backbone.encode([prompts.question("who") + prompts.TITLE])[0])
    judged = prompt + memory.longest
    monkeypatch.setattr(backbone.model.config, "max_position_embeddings", judged - 1)
    with pytest.raises(
        ConfigError, match=f"(?s)at most {judged - 1} tokens.*question with title and passage of {judged}"
    ):
        retriever.search(["who"], 3)
    with pytest.raises(ConfigError, match="passage to judge"):  # the refusal behind it is read as well
        monkeypatch.setattr(backbone.model.config, "max_position_embeddings", judged)
        retriever.search(["who"], 3)
    monkeypatch.setattr(backbone.model.config, "max_position_embeddings", judged - 1)
    assert retriever.with_settings(assessment=False).search(["who"], 3)[0]  # nothing reads whole passages


def test_views_without_a_share_are_not_written(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large corpus takes long to encode. Negatives are drawn all the same: other draws stand behind theirs."""
    shares = dict.fromkeys(("memorise", "recall", "passage", "content", "assess"), 0.0) | {"title": 1.0}
    table = {"backbone": folder, "shares": shares, "training": {"tokens": 400}}
    whole = SelfRetriever(SelfRetrievalSettings.model_validate(table)).lessons(load(folder), CORPUS, TRAIN)[2]
    drawn: list[int] = []

    def unwanted(*_: Any, **__: Any) -> Any:
        raise AssertionError("a view without a share")

    def counted(*given: Any) -> Any:
        drawn.append(1)
        return draw_negatives(*given)

    for view in ("memorise", "predicate", "passage", "content", "assess"):
        monkeypatch.setattr(Views, view, unwanted)
    monkeypatch.setattr("selfretrieval.retriever.draw_negatives", counted)
    lessons = SelfRetriever(SelfRetrievalSettings.model_validate(table)).lessons(load(folder), CORPUS, TRAIN)[2]
    assert lessons == whole
    assert drawn == [1]
    monkeypatch.undo()
    monkeypatch.setattr(Views, "predicate", unwanted)
    recalled = {"shares": {**shares, "title": 0.0, "recall": 1.0}}
    assert SelfRetriever(SelfRetrievalSettings.model_validate(table | recalled)).lessons(load(folder), CORPUS, TRAIN)[2]
