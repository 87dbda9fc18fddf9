"""Rows of different lengths in flat arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences end to end: sequence `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: Int32
    offsets: Int64

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]]) -> Ragged:
        """Lay sequences end to end.

        >>> Ragged.of([[7, 2], [9]]).offsets.tolist()
        [0, 2, 3]
        """
        rows = [np.asarray(s, dtype=np.int32) for s in sequences]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(r) for r in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int32:
        """Return sequence `row`."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int64:
        """Length of each sequence."""
        return np.diff(self.offsets)

    def then(self, other: Ragged) -> Ragged:
        """Return these sequences and the `other` ones behind them.

        >>> Ragged.of([[7]]).then(Ragged.of([[8, 9]]))[1].tolist()
        [8, 9]
        """
        offsets = np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]])
        return Ragged(np.concatenate([self.values, other.values]), offsets)

    def take(self, rows: Int64) -> Ragged:
        """Copy the sequences `rows`, in that order."""
        lengths = self.lengths[rows]
        _, place, bounds = spread(self.offsets[rows], lengths)
        return Ragged(self.values[place], bounds)


class Pile:
    """Sequences that come one by one: 4 bytes a token and 8 a sequence, where arrays of their own take 112 more."""

    def __init__(self) -> None:
        self._values = array("i")
        self._offsets = array("q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, sequence: Iterable[int]) -> None:
        """Lay a sequence behind the others."""
        self._values.extend(sequence)
        self._offsets.append(len(self._values))

    def ragged(self) -> Ragged:
        """Return the sequences without copying them; from then on none can be added.

        >>> pile = Pile()
        >>> pile.add([7, 2])
        >>> pile.ragged()[0].tolist()
        [7, 2]
        """
        return Ragged(np.asarray(self._values), np.asarray(self._offsets))


def among(values: npt.NDArray[np.integer], ascending: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """(values,) true where a value is one of the `ascending`.

    >>> among(np.array([3, 9]), np.array([1, 3])).tolist()
    [True, False]
    """
    if not len(ascending):
        return np.zeros(np.shape(values), dtype=np.bool_)
    like = values.astype(ascending.dtype, copy=False)  # NumPy would convert all of the other array instead
    found: npt.NDArray[np.bool_] = ascending[np.minimum(np.searchsorted(ascending, like), len(ascending) - 1)] == like
    return found


def spread(first: Int64, counts: Int64) -> tuple[Int64, Int64, Int64]:
    """Write the runs `first[i] .. first[i] + counts[i] - 1` one behind the other.

    Returns:
        The run each entry belongs to, the entries, and the (runs + 1,) bounds between the runs.

    >>> [a.tolist() for a in spread(np.array([5, 9]), np.array([2, 1]))]
    [[0, 0, 1], [5, 6, 9], [0, 2, 3]]
    """
    bounds = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=bounds[1:])
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(bounds[-1]) + (first - bounds[:-1])[owner], bounds
