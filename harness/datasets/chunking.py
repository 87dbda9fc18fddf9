"""Cut English texts into sentences and into passages of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.errors import ConfigError

Weigh = Callable[[list[str]], tuple[list[str], list[int]]]
"""Words -> words, those longer than a passage in pieces, and what each counts towards the limit of a passage."""


class _Group(NamedTuple):
    """Words that stay together."""

    words: list[str]
    weight: int


def one_each(words: list[str]) -> tuple[list[str], list[int]]:
    """Count every word as 1."""
    return words, [1] * len(words)


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


def windows(
    text: str, limit: int, overlap: int = 0, whole_sentences: bool = True, weigh: Weigh = one_each
) -> list[str]:
    """Group whole sentences, first come first in, into passages of at most `limit` words.

    Words are what white space separates. A longer sentence is cut between words. White space is squeezed to one
    blank. A text without words gives no passages.

    Args:
        text: what is cut.
        limit: the most a passage weighs, in words or in what `weigh` counts.
        overlap: the most that the end of a passage weighs which the next one repeats: whole sentences, or words where
            sentences are not kept whole; less than `limit`.
        whole_sentences: False: cut between any two words.
        weigh: counts words; by default each as 1.

    >>> windows("One two. Three four. Five six seven eight nine ten.", 5)
    ['One two. Three four.', 'Five six seven eight nine', 'ten.']
    >>> windows("One two. Three four. Five six.", 5, overlap=2)
    ['One two. Three four.', 'Three four. Five six.']
    >>> windows("One two. Three four. Five six.", 5, overlap=1, whole_sentences=False)
    ['One two. Three four. Five', 'Five six.']

    Raises:
        ConfigError: `limit` is less than 1, or `overlap` not less than it.
    """
    if limit < 1 or not 0 <= overlap < limit:
        got = f"max_words = {limit}, overlap = {overlap}"
        raise ConfigError("passages of at least 1 word that repeat less than they hold", got, "correct these settings")
    passages: list[str] = []
    current: list[_Group] = []
    weight = 0
    for group in _groups(text, limit, whole_sentences, weigh):
        if weight + group.weight > limit:
            passages.append(_joined(current))
            current = _tail(current, min(overlap, limit - group.weight)) if overlap else []
            weight = sum(kept.weight for kept in current)
        current.append(group)
        weight += group.weight
    return [*passages, _joined(current)] if current else passages


def _groups(text: str, limit: int, whole_sentences: bool, weigh: Weigh) -> Iterator[_Group]:
    """Yield what is never cut: sentences, or runs of words of a sentence that is too long, or single words."""
    for part in sentences(text) if whole_sentences else [text]:
        words, weights = weigh(part.split())
        if whole_sentences and words and sum(weights) <= limit:
            yield _Group(words, sum(weights))
            continue
        start = total = 0
        for place, weight in enumerate(weights):
            if place > start and (total + weight > limit or not whole_sentences):
                yield _Group(words[start:place], total)
                start, total = place, 0
            total += weight
        if words:
            yield _Group(words[start:], total)


def _tail(groups: list[_Group], room: int) -> list[_Group]:
    """Return as many of the last groups as weigh at most `room` together."""
    start = len(groups)
    while start and groups[start - 1].weight <= room:
        start -= 1
        room -= groups[start].weight
    return groups[start:]


def _joined(groups: list[_Group]) -> str:
    return " ".join(word for group in groups for word in group.words)


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
