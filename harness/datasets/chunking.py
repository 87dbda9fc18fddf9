"""Cut English texts into sentences and into passages of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from harness.datasets.stored import gather
from harness.errors import ConfigError
from harness.types import Corpus, Dataset, Passage, Split


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A run of end marks, the quotes and brackets that close with it, footnote marks such as [12]; or an empty line.
# The lookbehind and the possessive repeats keep a page of dots linear.
_END = re.compile(r"""(?<![.!?…])(?P<mark>[.!?…]++)["'”’)\]»]*+(?:\[\w{1,3}\])*+(?=\s)|\n[^\S\n]*\n""")
_OPENING = "\"'“‘([«¡¿—–-$€£#"
_REACH = 40
"""Characters looked at on each side of an end mark; longer than any abbreviation."""

_NEVER = _words(
    "mr mrs ms dr prof rev fr gen col capt cmdr lt sgt maj adm sen rep gov hon pres st ste mt ft messrs mme mlle "
    "e.g i.e eg ie cf vs v viz approx resp incl esp"
)
"""Abbreviations that something always follows."""
_BEFORE_NUMBER = _words(
    "no nos nr vol vols p pp fig figs eq eqs sec ch chap op ed c ca b d r fl "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
"""Abbreviations only where a number follows ("No. 5", but "He said no. Then")."""
_PERHAPS = _words(
    "al inc ltd co corp bros dept univ assn jr sr esq ave blvd rd vol ed eds trans lit c ca op "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
"""Abbreviations that may also end a sentence; what follows decides, as it does for initials and acronyms."""
_STARTERS = _words(
    "the a an this that these those it its he his him she her they their them we our i my you your there here in on at "
    "by for from with without within of to as after before during since until while when where who what which why how "
    "although though because if unless despite however moreover furthermore therefore thus hence also then today now "
    "and but or nor so yet not no some many most much several all both each every other others another one two three "
    "such under over between among according following born instead later finally once only"
)
"""Words that, capitalised after a doubtful full stop, show that a new sentence begins."""
# "U.S", "a.m", "Ph.D": the last full stop of an acronym is the mark itself.
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]")


def sentences(text: str) -> list[str]:
    """Split an English text at its sentence ends.

    A heuristic: an end mark before white space and a capital or a number, unless the mark belongs to an abbreviation,
    an initial or an acronym; a mark that stands alone between blanks; an empty line. Each sentence is a slice of the
    text, so all characters but the white space between sentences are kept.

    >>> sentences("Dr. J. R. Smith moved to the U.S. in 1950. He paid $3.5 million. Why?")
    ['Dr. J. R. Smith moved to the U.S. in 1950.', 'He paid $3.5 million.', 'Why?']
    """
    found, start = [], 0
    for match in _END.finditer(text):
        if match["mark"] is None or _is_end(text, match):
            found.append(text[start : match.end()].strip())
            start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def windows(text: str, max_words: int) -> list[str]:
    """Group whole sentences, first come first in, into passages of at most `max_words` words.

    Words are what white space separates. A longer sentence is cut between words. White space is squeezed to one
    blank. A text without words gives no passages.

    >>> windows("One two. Three four. Five six seven eight nine ten.", 5)
    ['One two. Three four.', 'Five six seven eight nine', 'ten.']

    Raises:
        ConfigError: `max_words` is less than 1.
    """
    if max_words < 1:
        raise ConfigError("passages of at least 1 word", f"max_words = {max_words}", "choose a number from 1")
    passages: list[str] = []
    current: list[str] = []
    for words in _pieces(text, max_words):
        if len(current) + len(words) > max_words:
            passages.append(" ".join(current))
            current = []
        current = current + words
    return [*passages, " ".join(current)] if current else passages


def divide(dataset: Dataset, max_words: int, opening_bonus: int = 0) -> Dataset:
    """Cut every passage of a dataset into passages of at most `max_words` words and pass the judgements on.

    The passages of docid `d` are called `d.0`, `d.1`, … in the order of the text, also where there is one only; they
    keep the title and the document. A text without words stays one empty passage. Each passage inherits the grade
    of the whole; `opening_bonus` is added to the first passage of what is relevant (grade from 1).
    """
    pieces: dict[str, int] = {}
    corpus = gather(_divided(dataset.corpus, max_words, pieces))
    train, dev, test = (_spread(s, pieces, opening_bonus) for s in (dataset.train, dataset.dev, dataset.test))
    return replace(dataset, corpus=corpus, train=train, dev=dev, test=test)


def describe(max_words: int | None) -> str:
    """Say in the card how texts were cut."""
    if max_words is None:
        return "none: every text is one passage"
    return f"whole sentences, at most {max_words} words a passage; longer sentences are cut between words"


def _pieces(text: str, max_words: int) -> Iterator[list[str]]:
    for sentence in sentences(text):
        words = sentence.split()
        for start in range(0, len(words), max_words):
            yield words[start : start + max_words]


def _is_end(text: str, match: re.Match[str]) -> bool:
    # Bounded slices: a long text is never copied for each of its end marks.
    after = text[match.end() : match.end() + _REACH].lstrip()
    before = text[max(0, match.start() - _REACH) : match.start()]
    alone = match["mark"] == "." and (not before or before[-1].isspace())
    if not after or alone:
        return True
    after = after.lstrip(_OPENING)
    if not after[:1].isalnum() or after[0].islower():
        return False
    return match["mark"] != "." or _ends_after(before.split()[-1].lstrip(_OPENING), after)


def _ends_after(word: str, after: str) -> bool:
    """Tell whether one full stop between `word` and `after` (which begins with a capital or a number) is an end."""
    lower = word.lower()
    if (len(word) == 1 and word.isupper()) or lower in _PERHAPS or _ACRONYM.fullmatch(word):
        if lower in _NEVER and len(word) > 1:
            return False
        following = re.match(r"[^\W\d_]+", after)
        return following is not None and following[0].lower() in _STARTERS
    return lower not in _NEVER and not (after[0].isdigit() and lower in _BEFORE_NUMBER)


def _divided(corpus: Corpus, max_words: int, pieces: dict[str, int]) -> Iterator[Passage]:
    for passage in corpus:
        texts = windows(passage.text, max_words) or [""]
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
