r"""Compare an answer with the reference answers: Exact Match and token F1 (SQuAD, Rajpurkar et al. 2016; KILT).

Texts are normalised as the official scripts do, so that figures can be set beside published ones: lower case, without
ASCII punctuation, without the words a, an, the, white space squeezed. Other punctuation (\u201c \u2013 \u2026) stays.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalised(text: str) -> str:
    """Return a text as it is compared.

    >>> normalised("  The Seine\'s  left-bank.")
    'seines leftbank'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 where the answer equals one of the references once both are normalised, else 0; 0 for no answer.

    >>> exact_match("The Seine.", ["river Seine", "Seine"])
    1.0
    """
    return float(bool(answer.strip()) and normalised(answer) in map(normalised, references))


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Return the largest F1 of the words an answer shares with a reference (0 to 1); 0 without references.

    Where nothing is left of a text once it is normalised, F1 is 0, as in SQuAD's and KILT's scripts.

    >>> token_f1("the river Seine", ["Seine", "the Loire"])
    0.6666666666666666
    """
    return max((_f1(normalised(answer).split(), normalised(text).split()) for text in references), default=0.0)


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    shared = (Counter(answer) & Counter(reference)).total()
    return 2 * shared / (len(answer) + len(reference)) if shared else 0.0
