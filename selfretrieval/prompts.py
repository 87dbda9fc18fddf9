r"""Every string Self-Retrieval shows the model (the one text format of the paper, section 3).

    Question: {query}\n\n Related document title: {title}\n Related document content: {passage}
        \n\n Final answer: {answer}                                       (one line in fact)

White space belongs to the start of a continuation (" paris", not "title: "), so that a tokeniser that merges
a leading space into a word meets the same boundary in training, in the trie and in search.
"""

from __future__ import annotations

import re

QUESTION = "Question: {query}"
TITLE = "\n\n Related document title:"
PASSAGE = "\n Related document content:"
ANSWER = "\n\n Final answer:"
ASKED = "\n\n Question:"
"""Before a question that stands behind its passage (`selfretrieval.likelihood`)."""
REJECT = " cannot extract answer"
ACCEPT = " can answer the query"
"""Stands in for the answer where a data set has no answer strings."""

PREFIX_WORDS = 10
"""Words of a passage the model learns to write (section 3.1)."""

PREDICATE_WORDS = 15
"""Words of a predicate that are kept."""
_DEFINITION = re.compile(r"\b(?:is|was|are|were|refers to)\s+(?:(?:an?|the|any|one of the)\s+)?(.+)")
_CLAUSE = re.compile(r"[,;:(]|\.\s|\s(?:who|which|that|where|when|whose|known|best known|located|used)\s")

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


def predicate_of(sentence: str) -> str:
    """Return what a defining sentence says its subject is, up to the next clause; empty where it defines nothing.

    >>> predicate_of("Ada Lovelace (1815–1852) was an English mathematician and writer, known for her notes.")
    'English mathematician and writer'
    >>> predicate_of("It rained.")
    ''
    """
    found = _DEFINITION.search(sentence)
    if found is None:
        return ""
    words = _CLAUSE.split(found[1], maxsplit=1)[0].strip(" .").split()[:PREDICATE_WORDS]
    return " ".join(words) if len(words) >= 2 else ""


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
    return (QUESTION.format(query=""), TITLE, PASSAGE, ANSWER, ASKED, REJECT, ACCEPT)
