"""Show texts of unknown origin: nothing in them that a terminal obeys, and no more of them than a reader wants."""

from __future__ import annotations

import re

# Controls of 7 and 8 bits but for line ends and tabs, other line ends, what overrides the direction of writing, and
# halves of surrogate pairs, which no file can hold.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text with its line ends; what a terminal would obey is written as in a Python string.

    >>> printable("\x1b[31mred\n\u202eder")
    '\\x1b[31mred\n\\u202eder'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters whole, else its beginning and how long it is.

    >>> shortened("abcdef", 6), shortened("abcdefg", 6)
    ('abcdef', 'abcdef… (7 characters)')
    """
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
