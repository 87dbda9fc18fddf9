r"""Every string Self-Retrieval shows the model (the one text format of the paper, section 3).

    Question: {query}\n\n Related document title: {title}\n Related document content: {passage}
        \n\n Final answer: {answer}                                       (one line in fact)

White space belongs to the start of a continuation (" paris", not "title: "), so that a tokeniser that merges
a leading space into a word meets the same boundary in training, in the trie and in search.
"""

from __future__ import annotations

QUESTION = "Question: {query}"
TITLE = "\n\n Related document title:"
PASSAGE = "\n Related document content:"
ANSWER = "\n\n Final answer:"
REJECT = " cannot extract answer"
ACCEPT = " can answer the query"
"""Stands in for the answer where a data set has no answer strings."""

PREFIX_WORDS = 10
"""Words of a passage the model learns to write (section 3.1)."""

UNTITLED_WORDS = 6
"""Opening words that serve as title where a document has none; the paper generates one (MS MARCO)."""


def question(query: str) -> str:
    """Fill in the query, its white space squeezed."""
    return QUESTION.format(query=" ".join(query.split()))


def title_of(title: str, text: str) -> str:
    """Return the title as the model writes it: lower-cased, one leading space; without one, the opening words."""
    words = title.lower().split() or text.lower().split()[:UNTITLED_WORDS]
    return " " + " ".join(words)


def passage_of(text: str) -> str:
    """Return the passage as the model writes it: one leading space, white space squeezed."""
    return " " + " ".join(text.split())


def prefix_of(text: str) -> str:
    """Return the first ten words of a passage, one leading space."""
    return " " + " ".join(text.split()[:PREFIX_WORDS])


def all_strings() -> tuple[str, ...]:
    """List the fixed strings, so that their tokens stay in a restricted vocabulary."""
    return (QUESTION.format(query=""), TITLE, PASSAGE, ANSWER, REJECT, ACCEPT)
