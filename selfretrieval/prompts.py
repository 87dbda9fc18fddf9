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
"""Opening words of a passage that serve as its title where it has none; the paper generates one (MS MARCO)."""


def question(query: str) -> str:
    """Fill in the query, its white space squeezed."""
    return QUESTION.format(query=" ".join(query.split()))


def title_of(title: str, text: str, *, lowercase: bool = True) -> str:
    """Return the title as the model writes it: one leading space, lower-cased; without one, the opening words."""
    words = title.split() or text.split()[:UNTITLED_WORDS]
    return " " + cased(" ".join(words), lowercase)


def cased(text: str, lowercase: bool) -> str:
    """Lower-case a title or a sentence to memorise, as the paper does, or leave it as it is."""
    return text.lower() if lowercase else text


def without_title_words(sentence: str, title: str) -> str:
    """Drop the words of a sentence that stand in the title, so that it cannot be copied whole.

    >>> without_title_words("Ada Lovelace was an English mathematician.", "Ada Lovelace")
    'was an English mathematician.'
    """
    banned = {_bare(word) for word in title.split()}
    return " ".join(word for word in sentence.split() if _bare(word) not in banned)


def _bare(word: str) -> str:
    return word.strip(".,;:!?()[]'\"").casefold().removesuffix("'s")


def passage_of(text: str) -> str:
    """Return the passage as the model writes it: one leading space, white space squeezed."""
    return " " + " ".join(text.split())


def answer_of(answer: str) -> str:
    """Return an answer as the model writes it: one leading space, white space squeezed."""
    return " " + " ".join(answer.split())


def prefix_of(text: str) -> str:
    """Return the first ten words of a passage, one leading space."""
    return " " + " ".join(text.split()[:PREFIX_WORDS])


def all_strings() -> tuple[str, ...]:
    """List the fixed strings, so that their tokens stay in a restricted vocabulary."""
    return (QUESTION.format(query=""), TITLE, PASSAGE, ANSWER, REJECT, ACCEPT)
