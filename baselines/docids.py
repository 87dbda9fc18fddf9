"""Document identifiers for DSI: short strings over an alphabet of single-token characters.

naive      the row number, zero-padded, in base `radix`: structure without meaning (DSI's "naively structured
           string identifiers", section 3.2 of Tay et al., NeurIPS 2022)
semantic   the path down a hierarchical k-means tree of passage vectors, then the position within the leaf
           (Algorithm 1, Tay et al. 2022; there 10 clusters a level and up to 100 passages a leaf)
random     a random permutation of the naive ones: the control for what structure is worth

Every passage gets a code of its own, also copies of one text.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from harness.errors import ConfigError

ALPHABET = string.digits + string.ascii_lowercase + string.ascii_uppercase
Code = tuple[int, ...]


def spelled(code: Code) -> str:
    """Write a code in letters of the alphabet.

    >>> spelled((1, 0, 11))
    '10b'
    """
    return "".join(ALPHABET[symbol] for symbol in code)


def naive(count: int, radix: int) -> list[Code]:
    """Number `count` passages in base `radix`, all codes equally long.

    >>> [spelled(c) for c in naive(11, 10)][-2:]
    ['09', '10']
    """
    _check_radix(radix)
    width = 1
    while radix**width < count:
        width += 1
    return [tuple(number // radix**place % radix for place in reversed(range(width))) for number in range(count)]


def shuffled(count: int, radix: int, seed: int) -> list[Code]:
    """Deal the naive codes out at random."""
    codes = naive(count, radix)
    return [codes[i] for i in np.random.default_rng(seed).permutation(count)]


def semantic(vectors: np.ndarray, radix: int, seed: int) -> list[Code]:
    """Cluster (passages, width) vectors into at most `radix` groups, and each group again until it fits a leaf.

    A leaf holds at most `radix` passages, in row order. Passages that k-means cannot tell apart are dealt out evenly.
    """
    _check_radix(radix)
    codes: list[Code] = [()] * len(vectors)
    todo: list[tuple[np.ndarray, Code]] = [(np.arange(len(vectors)), ())]
    while todo:
        rows, path = todo.pop()
        if len(rows) <= radix:
            for position, row in enumerate(rows.tolist()):
                codes[row] = (*path, position)
            continue
        for number, members in enumerate(_clusters(vectors, rows, radix, seed)):
            todo.append((members, (*path, number)))
    return codes


def _clusters(vectors: np.ndarray, rows: np.ndarray, radix: int, seed: int) -> Sequence[np.ndarray]:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    distinct = len(np.unique(vectors[rows], axis=0))
    if distinct < 2:
        return np.array_split(rows, radix)
    # Each thread adds up its own rows, and the sums come together as they are done: of three or more the last bits, and
    # so the identifiers, would depend on which is first.
    with threadpool_limits(2, user_api="openmp"):
        labels = KMeans(min(radix, distinct), n_init=1, random_state=seed).fit_predict(vectors[rows])
    return [rows[labels == label] for label in np.unique(labels)]


def _check_radix(radix: int) -> None:
    if not 2 <= radix <= len(ALPHABET):
        raise ConfigError(f"a radix of 2 to {len(ALPHABET)}", str(radix), "correct the setting `radix`")
