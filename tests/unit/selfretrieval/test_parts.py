"""Strings, scores and training views of Self-Retrieval, by hand-computed values."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.lm.backbone import Backbone, load
from harness.lm.examples import Example, supervised_pairs
from harness.types import Corpus, Passage, Query, Split
from selfretrieval import prompts, score
from selfretrieval.examples import Views, draw_negatives
from selfretrieval.memory import Memory, boundary_of
from tests.lm_models import tiny_folder

CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Old Rome", "Old Rome is the capital of all Italy. It is very old.", "a"),
        Passage("a.1", "Old Rome", "It lies on the Tiber.", "a"),
        Passage("b.0", "Oslo", "Oslo is cold in winter, and the capital of Norway.", "b"),
        Passage("c.0", "Bern", "Bern is the seat of government.", "c"),
    ]
)
QUERY = Query("q", "Capital of Italy?", ("Rome",))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load(tiny_folder(tmp_path_factory.mktemp("tiny")))


def shown(backbone: Backbone, example: Example) -> str:
    """Write an example as text with its targets between stars."""
    text, at = "", 0
    for start, end in example.spans:
        text += backbone.decode(example.tokens[at:start]) + "*" + backbone.decode(example.tokens[start:end]) + "*"
        at = end
    return text + backbone.decode(example.tokens[at:])


def test_views_show_and_ask_what_the_paper_does(backbone: Backbone) -> None:
    views, pairs = Views(backbone, CORPUS), [(QUERY, 0)]
    asked = "Question: Capital of Italy?\n\n Related document title:"
    first = " Old Rome is the capital of all Italy. It is"
    answer = "\n\n Final answer:* Rome<end>*"
    assert shown(backbone, views.title(pairs)[0]) == f"{asked}* old rome\n* Related document content:"
    assert (
        shown(backbone, views.passage(pairs)[0])
        == f"{asked}* old rome\n* Related document content:*{first}* very old.{answer}"
    )
    assert (
        shown(backbone, views.content(pairs)[0])
        == f"{asked} old rome\n Related document content:*{first}* very old.{answer}"
    )
    positive, negative = views.assess(pairs, [[2]])
    assert shown(backbone, positive) == f"{asked} old rome\n Related document content:{first} very old.{answer}"
    assert shown(backbone, negative) == (
        f"{asked} oslo\n Related document content: Oslo is cold in winter, and the capital of Norway."
        "\n\n Final answer:* cannot extract answer<end>*"
    )


def test_memorised_sentences_have_six_to_forty_nine_words_and_lower_case(backbone: Backbone) -> None:
    told = [shown(backbone, e) for e in Views(backbone, CORPUS).memorise()]
    assert [t.split("\n")[0] for t in told] == [
        "Question: old rome is the capital of all italy.",
        "Question: oslo is cold in winter, and the capital of norway.",
        "Question: bern is the seat of government.",
    ]
    assert told[0].endswith("* old rome\n* Related document content:* Old Rome is the capital of all Italy. It is*")
    masked = [shown(backbone, e) for e in Views(backbone, CORPUS, lowercase=False).memorise(masked=True)]
    assert any(t.startswith("Question: is the capital of all Italy.\n") for t in masked)


def test_prefixes_until_unique_ask_only_for_what_tells_passages_apart(backbone: Backbone) -> None:
    memory = Memory.build(CORPUS, backbone)
    assert memory.cuts().tolist() == [2, 2, 0, 0]  # " O" against " I"; titles with one passage need nothing
    views = Views(backbone, CORPUS, prefixes=memory.cuts().tolist())
    assert "content:* O*ld Rome" in shown(backbone, views.passage([(QUERY, 0)])[0])


def test_what_follows_a_passage_follows_its_last_word(backbone: Backbone) -> None:
    """Of two passages of a title of which one begins with all of the other, the shorter ends in <eos>."""
    long = "One two three four five six seven. And some words more."
    corpus = Corpus.from_passages(
        [Passage("a.0", "Numbers", "One two three four five six seven.", "a"), Passage("a.1", "Numbers", long, "a")]
    )
    views = Views(backbone, corpus, prefixes=Memory.build(corpus, backbone).cuts().tolist())
    pairs = [(Query("q", "How many?", ("seven",)), 0)]
    assert shown(backbone, views.memorise()[0]).endswith(" seven.<end>*")
    going_on = [*views.passage(pairs), *views.content(pairs), *views.assess(pairs, [[1]])[:1], *views.likelihood(pairs)]
    assert [" seven." in (text := shown(backbone, e)) and "seven.<end>" not in text for e in going_on] == [True] * 4


def test_a_data_set_without_answers_gets_an_answer_phrase(backbone: Backbone) -> None:
    (example,) = Views(backbone, CORPUS).passage([(Query("q", "cold town"), 2)])
    assert shown(backbone, example).endswith("Final answer:* can answer the query<end>*")


def test_scores_by_hand() -> None:
    e = math.exp
    a, b = e(e(-1.0) / 0.4), e(e(-2.0) / 0.4)
    assert score.title_scores([-1.0, -2.0]).tolist() == pytest.approx([a / (a + b), b / (a + b)])
    x, y, z = e(0.9 / 0.4), e(0.5 / 0.4), e(0.1 / 0.4)
    total = x + y + z
    assert score.passage_scores([0.9, 0.5, 0.1], [0, 0, 1]).tolist() == pytest.approx([x / total, y / total, z / total])
    assert score.passage_scores([0.9, 0.5, 0.1], [0, 0, 1], per_title=True).tolist() == pytest.approx(
        [x / (x + y), y / (x + y), 1.0]
    )


def test_negatives_are_never_relevant_and_come_from_both_kinds_of_documents() -> None:
    drawn = [draw_negatives([(QUERY, 0)], CORPUS, {"q": {0}}, 2, random.Random(seed))[0] for seed in range(20)]
    assert all(0 not in rows and len(rows) == 2 for rows in drawn)
    assert all(1 in rows for rows in drawn)  # the other passage of the gold document
    answered = Query("q", "Capital of Italy?", ("Tiber",))
    kept = [draw_negatives([(answered, 0)], CORPUS, {"q": {0}}, 2, random.Random(seed))[0] for seed in range(20)]
    assert all(1 not in rows for rows in kept)  # it holds the answer
    assert {2, 3} <= {row for rows in drawn for row in rows}
    blocked = draw_negatives([(QUERY, 0)], CORPUS, {"q": {0, 1}}, 2, random.Random(0))[0]
    assert set(blocked) == {2, 3}


def test_at_most_half_of_the_negatives_come_from_the_gold_document() -> None:
    wide = Corpus.from_passages(Passage(f"{d}{n}", d, f"Text {n} of {d}.", d) for d in "abc" for n in range(6))
    for count, most in ((1, 0), (2, 1), (4, 2), (5, 2)):
        (rows,) = draw_negatives([(QUERY, 0)], wide, {"q": {0}}, count, random.Random(0))
        assert len(rows) == count and sum(row < 6 for row in rows) == most


def test_a_copy_of_the_gold_passage_is_no_negative() -> None:
    copied = Corpus.from_passages([CORPUS[0], CORPUS[0]._replace(docid="z.0", document="z"), CORPUS[2]])
    drawn = [draw_negatives([(QUERY, 0)], copied, {"q": {0}}, 2, random.Random(seed))[0] for seed in range(20)]
    assert all(set(rows) <= {2} for rows in drawn)


def test_pairs_take_the_highest_grade() -> None:
    split = Split("train", (QUERY,), {"q": {"a.0": 2, "a.1": 1, "b.0": 0}})
    assert supervised_pairs(split, CORPUS) == [(QUERY, 0)]


def test_title_words_are_dropped_whole() -> None:
    assert prompts.without_title_words("Rome (old) and Romeo.", "Old Rome") == "and Romeo."
    assert prompts.title_of("", "Seven words are more than the six.") == " seven words are more than the"


def test_saved_memory_is_the_same(backbone: Backbone, tmp_path: Path) -> None:
    memory = Memory.build(CORPUS, backbone)
    memory.save(tmp_path)
    back = Memory.open(tmp_path)
    assert back.stops.tolist() == memory.stops.tolist()
    assert back.boundary == memory.boundary
    assert back.sequences.values.tolist() == memory.sequences.values.tolist()


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Bern is the seat of government.", "seat of government"),
        (
            "Otters are carnivorous mammals in the subfamily Lutrinae; they swim.",
            "carnivorous mammals in the subfamily Lutrinae",
        ),
        ("Rome was a city that grew.", ""),
        ("Nobody came.", ""),
    ],
)
def test_predicates_say_what_the_subject_is(sentence: str, said: str) -> None:
    assert prompts.predicate_of(sentence) == said


def test_predicates_lead_to_title_and_passage(backbone: Backbone) -> None:
    told = [shown(backbone, e) for e in Views(backbone, CORPUS).predicate()]
    assert told[-1].startswith("Question: seat of government\n\n Related document title:*")


def test_ten_words_end_where_the_trie_does(backbone: Backbone) -> None:
    views = Views(backbone, CORPUS, passage_tokens=16)
    memory = Memory.build(CORPUS, backbone, passage_tokens=16)
    for row in range(len(CORPUS)):
        *_, target, rest = views._body(row)
        body = memory.sequences[row][memory.heads[row] :].tolist()
        assert [*target.tokens, *rest.tokens] == body[:-1]
    assert max(len(views._body(row)[0].tokens) for row in range(len(CORPUS))) == 16


def test_a_copy_of_another_relevant_passage_is_no_negative() -> None:
    """Nobody judged the copy, but the model would be taught both to answer from its words and to refuse them."""
    copy = CORPUS[2]._replace(docid="z.0", document="z")
    near = CORPUS[2]._replace(docid="a.2", document="a")
    copied = Corpus.from_passages([CORPUS[0], CORPUS[2], CORPUS[3], copy, near])
    drawn = [draw_negatives([(QUERY, 0)], copied, {"q": {0, 1}}, 4, random.Random(seed))[0] for seed in range(20)]
    assert all(set(rows) == {2} for rows in drawn)


def test_what_is_relevant_to_a_query_of_the_same_words_is_no_negative() -> None:
    pairs = [(QUERY, 0), (Query("r", " Capital  of Italy?"), 2)]
    relevant = {"q": {0}, "r": {2}}
    for seed in range(20):
        first, second = draw_negatives(pairs, CORPUS, relevant, 2, random.Random(seed))
        assert 2 not in first and 0 not in second


def test_negatives_of_other_data_are_those_they_always_were() -> None:
    wide = Corpus.from_passages(Passage(f"{d}{n}", d, f"Text {n} of {d}.", d) for d in "abc" for n in range(6))
    pairs = [(Query("q", "x"), 0), (Query("r", "y"), 7)]
    rng = random.Random(3)
    assert draw_negatives(pairs, wide, {"q": {0, 8}, "r": {7}}, 4, rng) == [[2, 5, 11, 15], [11, 6, 15, 17]]
    assert rng.random() == pytest.approx(0.1917441039952995)


def metaspace() -> Backbone:
    """A tokeniser like SentencePiece's: characters, each text begun with a mark for a space unless it has one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted({*"\u2581\n", *(chr(code) for code in range(33, 127))})
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(["<end>", *letters])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    return Backbone(None, PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>"))


CUPS = Corpus.from_passages(Passage(t, t, f"All about the {t}.", t) for t in ("World Cup", "World Cup 2010"))


def test_a_title_is_not_ended_by_the_space_inside_a_longer_one() -> None:
    backbone = metaspace()
    assert backbone.encode([prompts.PASSAGE])[0][0] == backbone.encode([" "])[0][0]  # alone it begins with a space
    memory = Memory.build(CUPS, backbone)
    newline = boundary_of(backbone)[0]
    ends = [memory.sequences[i][: memory.heads[i] - len(memory.boundary)].tolist() for i in range(2)]
    for tokens in ends:
        assert tokens[-1] == newline
        assert memory.trie.walk(tokens) in memory.stops
        passed = [memory.trie.walk(tokens[:place]) for place in range(1, len(tokens))]
        assert not {*passed} & {*memory.stops.tolist()}
    (example, _) = Views(backbone, CUPS).title([(QUERY, 0), (QUERY, 1)])
    start, end = example.spans[0]
    assert [*example.tokens[start:end]] == ends[0]  # trained on what the trie holds


def test_a_title_through_the_end_of_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = metaspace()
    monkeypatch.setattr("selfretrieval.memory.boundary_of", lambda b: b.encode([prompts.PASSAGE])[0])
    with pytest.raises(ConfigError, match=r"(?s)inside a title.*1 titles"):
        Memory.build(CUPS, backbone)


def test_the_boundary_of_other_tokenisers_is_what_it_was(backbone: Backbone) -> None:
    assert boundary_of(backbone) == backbone.encode([prompts.PASSAGE])[0]


def test_a_tokeniser_without_an_end_is_one_clear_error() -> None:
    nameless: Any = SimpleNamespace(eos_token_id=None)
    with pytest.raises(ConfigError, match="end-of-sequence"):
        Backbone(None, nameless).end  # noqa: B018


def test_what_is_too_small_for_a_number_keeps_its_order() -> None:
    logs = score.log_softmax([3.0, -900.0, 2.0])
    assert logs.tolist() == pytest.approx([-math.log1p(math.exp(-1)), -903 - math.log1p(math.exp(-1)), logs[0] - 1])
    kept = score.softmax([3.0, -900.0, 2.0])
    assert np.exp(logs).tolist() == pytest.approx(kept.tolist())
    scores = score.ranked_by(kept, logs)
    assert scores[[0, 2]].tolist() == kept[[0, 2]].tolist()
    assert scores[1] == logs[1] < 0
