"""Cut the texts of a dataset into passages and pass the judgements on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from harness.datasets import chunking
from harness.datasets.settings import EMBEDDED, DatasetSettings
from harness.datasets.stored import gather
from harness.types import Corpus, Dataset, Passage, Split


class Rule(NamedTuple):
    """How texts are cut: at most `limit` of what `weigh` counts, of which the next passage repeats `overlap`."""

    limit: int
    overlap: int = 0
    sentences: bool = True
    weigh: chunking.Weigh = chunking.one_each

    @classmethod
    def of(cls, settings: DatasetSettings) -> Rule | None:
        """Read the settings; None where nothing is cut.

        Raises:
            ConfigError: the tokeniser is not to be had.
        """
        if settings.max_passage_words is not None:
            return cls(settings.max_passage_words, settings.overlap, settings.sentences)
        if settings.max_passage_tokens is None:
            return None
        from harness.datasets.tokens import TokenCounts

        counts = TokenCounts.of(settings.tokenizer, settings.max_passage_tokens)
        return cls(settings.max_passage_tokens, settings.overlap, settings.sentences, counts)


def divide(dataset: Dataset, rule: Rule, opening_bonus: int = 0) -> Dataset:
    """Cut every passage of a dataset and pass the judgements on.

    The passages of docid `d` are called `d.0`, `d.1`, … in the order of the text, also where there is one only; they
    keep the title and the document. A text without words stays one empty passage. Each passage inherits the grade
    of the whole; `opening_bonus` is added to the first passage of what is relevant (grade from 1).
    """
    splits = (dataset.train, dataset.dev, dataset.test)
    # Of the judged texts alone: the others may be millions.
    pieces = dict.fromkeys((docid for s in splits for judged in s.qrels.values() for docid in judged), 0)
    corpus = gather(_divided(dataset.corpus, rule, pieces))
    train, dev, test = (_spread(split, pieces, opening_bonus) for split in splits)
    return replace(dataset, corpus=corpus, train=train, dev=dev, test=test)


def describe(settings: DatasetSettings) -> str:
    """Say in the card how texts were cut."""
    if not settings.cuts:
        return "none: every text is one passage"
    counted = f"{settings.max_passage_words} words"
    if settings.max_passage_tokens is not None:
        counted = f"{settings.max_passage_tokens} tokens ({_tokenizer(settings.tokenizer)})"
    if settings.sentences:
        said = f"whole sentences, at most {counted} a passage; longer sentences are cut between words"
    else:
        said = f"at most {counted} a passage, cut between words wherever the limit falls"
    if not settings.overlap:
        return said
    unit = "words" if settings.max_passage_tokens is None else "tokens"
    whole = "whole sentences of " if settings.sentences else ""
    return f"{said}; a passage begins with the end of the one before ({whole}at most {settings.overlap} {unit})"


def _tokenizer(name: str) -> str:
    from pathlib import PurePath

    return "of the embedded language model" if name == EMBEDDED else f"of the tokenizer {PurePath(name).name}"


def _divided(corpus: Corpus, rule: Rule, pieces: dict[str, int]) -> Iterator[Passage]:
    limit, overlap, whole, weigh = rule
    cut = partial(chunking.windows, limit=limit, overlap=overlap, whole_sentences=whole, weigh=weigh)
    for passage in corpus:
        texts = cut(passage.text) or [""]
        if passage.docid in pieces:
            pieces[passage.docid] = len(texts)
        for number, text in enumerate(texts):
            yield passage._replace(docid=f"{passage.docid}.{number}", text=text)


def _spread(split: Split, pieces: Mapping[str, int], opening_bonus: int) -> Split:
    def grades(judged: Mapping[str, int]) -> dict[str, int]:
        return {
            f"{docid}.{number}": grade + (opening_bonus if number == 0 and grade >= 1 else 0)
            for docid, grade in judged.items()
            for number in range(pieces[docid])
        }

    return replace(split, qrels={qid: grades(judged) for qid, judged in split.qrels.items()})
