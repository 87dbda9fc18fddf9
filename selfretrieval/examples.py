"""Training views of a corpus and its queries (sections 3.1 and 3.2, Tang et al. 2024).

    memorise   sentence                 -> *title*, *first ten words*
    predicate  what the first sentence says its subject is -> *title*, *prefix*                      (an addition)
    title      query                    -> *title*                                                        (view a)
    passage    query                    -> *title*, *first ten words*, rest of the passage, *answer*      (view b)
    content    query, title             -> *first ten words*, rest of the passage, *answer*               (view e)
    assess     query, title, passage    -> *answer*; for a negative passage *"cannot extract answer"*     (view d)
    likelihood title, passage           -> *query*                                                  (an addition)

What stands between stars bears the loss; the first token of the boundary between title and passage belongs to the
title, since the model has to end it. View c of the released scripts (candidate titles) needs candidates that a
data set names.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from harness.datasets.chunking import sentences
from harness.lm.backbone import Backbone
from harness.lm.examples import MIN_WORDS, Example, Piece, join, memorable
from harness.types import Corpus, Passage, Query
from selfretrieval import prompts
from selfretrieval.memory import boundary_of


@dataclass(frozen=True)
class Views:
    """Writes examples for one corpus.

    titles: False leaves titles out of every view (Table 4, "w/o title").
    prefixes: for each corpus row the tokens of the passage to be written; None takes the first ten words.
    later: for a row the tokens to be written of each sentence that may lead to it, besides its beginning; then a
    sentence leads to its own beginning, and a query to that of the sentence that holds its answer (an addition).
    lowercase: write titles and memorised sentences in lower case, as the paper does.
    query_tokens, passage_tokens: a longer query or passage is cut there.
    """

    backbone: Backbone
    corpus: Corpus
    titles: bool = True
    prefixes: Sequence[int] | None = None
    later: Mapping[int, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    lowercase: bool = True
    query_tokens: int = 512
    passage_tokens: int = 512

    def memorise(self, *, masked: bool = False) -> list[Example]:
        """One example for every sentence of every passage; with `masked` one more without the words of the title."""
        examples: list[Example] = []
        for row, passage in enumerate(self.corpus):
            kept = [(s, s) for s in memorable(passage.text)]
            if masked:
                bare = [(prompts.without_title_words(s, passage.title), s) for s, _ in kept]
                kept += [(b, s) for b, s in bare if MIN_WORDS < len(b.split()) < len(s.split())]
            if kept:
                head, beginning, later = self._head(passage), self._body(row)[0], self.later.get(row, {})
                asked = self.backbone.encode([prompts.question(prompts.cased(s, self.lowercase)) for s, _ in kept])
                for question, (_, source) in zip(asked, kept, strict=True):
                    target = Piece(later[source], True) if source in later else beginning
                    examples.append(join([*self._asked(question), *head, target]))
        return examples

    def predicate(self) -> list[Example]:
        """From what the first sentence of a passage says its subject is to title and passage; see `predicate_of`."""
        examples: list[Example] = []
        for row, passage in enumerate(self.corpus):
            said = prompts.predicate_of(next(iter(sentences(passage.text)), ""))
            if said:
                examples.append(join([*self._question(Query("", said)), *self._head(passage), self._body(row)[0]]))
        return examples

    def title(self, pairs: Sequence[tuple[Query, int]]) -> list[Example]:
        """View a: from the query to the title."""
        return [join([*self._question(q), *self._head(self.corpus[row])]) for q, row in pairs]

    def passage(self, pairs: Sequence[tuple[Query, int]]) -> list[Example]:
        """View b: from the query through title and passage to the answer."""
        return [join([*self._question(q), *self._head(self.corpus[row]), *self._written(q, row)]) for q, row in pairs]

    def beginning(self, pairs: Sequence[tuple[Query, int]]) -> list[Example]:
        """From the query through the title to what of the passage is to be written, and no further."""
        return [join([*self._question(q), *self._head(self.corpus[row]), self._body(row)[0]]) for q, row in pairs]

    def content(self, pairs: Sequence[tuple[Query, int]]) -> list[Example]:
        """View e: the title is given; the passage and the answer are written."""
        return [
            join([*self._question(q), *_context(self._head(self.corpus[row])), *self._written(q, row)])
            for q, row in pairs
        ]

    def assess(self, pairs: Sequence[tuple[Query, int]], negatives: Sequence[Sequence[int]]) -> list[Example]:
        """View d: one positive, and one example for each negative row of the pair."""
        examples: list[Example] = []
        for (query, row), others in zip(pairs, negatives, strict=True):
            question = self._question(query)
            for candidate in (row, *others):
                verdict = self._answer(query) if candidate == row else self._final(prompts.REJECT)
                seen = _context([*self._head(self.corpus[candidate]), *self._text(candidate)])
                examples.append(join([*question, *seen, *verdict]))
        return examples

    def likelihood(self, pairs: Sequence[tuple[Query, int]]) -> list[Example]:
        """From title and passage to the query; see `selfretrieval.likelihood`."""
        cue = Piece(self.backbone.encode([prompts.ASKED])[0], False)
        asked = self.backbone.encode_after(prompts.ASKED, [prompts.answer_of(q.text) for q, _ in pairs])
        return [
            join(
                [
                    self._cue,
                    *_context([*self._head(self.corpus[row]), *self._text(row)]),
                    cue,
                    Piece(question[: self.query_tokens], True),
                ]
            )
            for (_, row), question in zip(pairs, asked, strict=True)
        ]

    def _written(self, query: Query, row: int) -> list[Piece]:
        """Passage and answer; where another sentence than the first holds the answer, its beginning alone."""
        later = self.later.get(row, {})
        holding = [target for sentence, target in later.items() if _answers(query, sentence)]
        opening = self.corpus[row].text.partition(next(iter(later), "\0"))[0]
        if holding and not _answers(query, opening):
            return [Piece(holding[0], True)]
        return [*self._text(row), *self._answer(query)]

    def _head(self, passage: Passage) -> list[Piece]:
        """Title and the end of it as target, the rest of the boundary as context; nothing without titles."""
        if not self.titles:
            return []
        name = prompts.title_of(passage.title, passage.text, lowercase=self.lowercase)
        title = self.backbone.encode_after(prompts.TITLE, [name])[0]
        end, *rest = self._boundary
        return [Piece([*title, end], True), Piece(rest, False)]

    @cached_property
    def _boundary(self) -> list[int]:
        return boundary_of(self.backbone)

    def _body(self, row: int) -> list[Piece]:
        """First words (target) and the rest of the passage (context)."""
        text = self.corpus[row].text
        whole, first = self.backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(text), prompts.prefix_of(text)])
        whole = whole[: self.passage_tokens]  # as far as the trie goes
        if self.prefixes is None:
            return [Piece(whole[: len(first)], True), Piece(whole[len(first) :], False)]
        length = int(self.prefixes[row])
        if length > len(whole):  # another passage of the title begins with all of this one: <eos> tells them apart
            return [Piece([*whole, self.backbone.end], True), Piece([], False)]
        return [Piece(whole[:length], True), Piece(whole[length:], False)]

    def _text(self, row: int) -> list[Piece]:
        """First words and rest of a passage that something follows: without the end that tells it from longer ones."""
        return [piece._replace(tokens=_without_end(piece.tokens, self.backbone.end)) for piece in self._body(row)]

    def _question(self, query: Query) -> list[Piece]:
        return self._asked(self.backbone.encode([prompts.question(query.text)])[0])

    def _asked(self, question: Sequence[int]) -> list[Piece]:
        return [Piece(question[: self.query_tokens], False), self._cue]

    @property
    def _cue(self) -> Piece:
        return Piece(self.backbone.encode([prompts.TITLE if self.titles else prompts.PASSAGE])[0], False)

    def _answer(self, query: Query) -> list[Piece]:
        return self._final(prompts.answer_of(query.answers[0]) if query.answers else prompts.ACCEPT)

    def _final(self, verdict: str) -> list[Piece]:
        cue = Piece(self.backbone.encode([prompts.ANSWER])[0], False)
        return [cue, Piece([*self.backbone.encode_after(prompts.ANSWER, [verdict])[0], self.backbone.end], True)]


def _without_end(tokens: Sequence[int], end: int) -> Sequence[int]:
    return tokens[:-1] if tokens and tokens[-1] == end else tokens


def _context(pieces: Sequence[Piece]) -> list[Piece]:
    return [Piece(piece.tokens, False) for piece in pieces]


def draw_negatives(
    pairs: Sequence[tuple[Query, int]], corpus: Corpus, relevant: dict[str, set[int]], count: int, rng: random.Random
) -> list[list[int]]:
    """Draw up to `count` non-relevant rows for each pair: of the gold document first, then of other documents.

    A passage of the gold document counts as negative only if it is not relevant and does not hold an answer string.
    At most half come from the gold document, so that both kinds are seen. A copy of a relevant passage is none, and
    neither is what is relevant to another query of the same words.
    """
    documents = corpus.table.column("document").to_pylist()
    texts = corpus.table.column("text")
    members: dict[str, list[int]] = {}
    for row, document in enumerate(documents):
        members.setdefault(document, []).append(row)
    asked: dict[str, set[int]] = {}
    for query, row in pairs:
        asked.setdefault(prompts.question(query.text), set()).update(relevant.get(query.qid, ()), (row,))
    drawn: list[list[int]] = []
    for query, row in pairs:
        taken = asked[prompts.question(query.text)]
        gold = {texts[r].as_py() for r in taken}
        near = [
            r
            for r in members[documents[row]]
            if r not in taken and texts[r].as_py() not in gold and not _answers(query, texts[r].as_py())
        ]
        chosen = rng.sample(near, min(len(near), count // 2))
        for other in (rng.randrange(len(corpus)) for _ in range(20 * count)):
            if len(chosen) >= count:
                break
            elsewhere = documents[other] != documents[row] and texts[other].as_py() not in gold
            if elsewhere and other not in taken and other not in chosen:
                chosen.append(other)
        drawn.append(chosen)
    return drawn


def _answers(query: Query, text: str) -> bool:
    return any(answer.strip() and answer.casefold() in text.casefold() for answer in query.answers)
