"""From examples to tensors: several in a row, several rows in a batch, each example blind to the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.lm.examples import Example

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[Example]]
"""One batch: rows of examples."""


class Batch(NamedTuple):
    """Packed rows: `tokens` and `positions` (rows, length), `mask` (rows, 1, length, length), and for each
    target where it is predicted, `at` (targets,) flat, and what it is, `labels` (targets,)."""

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    at: torch.Tensor
    labels: torch.Tensor


def pack(examples: Sequence[Example], row_tokens: int, batch_tokens: int) -> list[list[list[Example]]]:
    """Lay examples into rows and rows into batches, in order; within a batch rows are then made about equally long.

    >>> short = Example((1, 2, 3), ((1, 3),))
    >>> [[len(row) for row in batch] for batch in pack([short] * 5, row_tokens=6, batch_tokens=12)]
    [[2, 2], [1]]
    """
    rows: list[list[Example]] = []
    room = 0
    for example in examples:
        if len(example.tokens) > room:
            rows.append([])
            room = max(row_tokens, len(example.tokens))
        rows[-1].append(example)
        room -= len(example.tokens)
    batches: list[list[list[Example]]] = []
    room = 0
    for row in rows:
        size = sum(len(e.tokens) for e in row)
        if size > room or not batches:
            batches.append([])
            room = batch_tokens
        batches[-1].append(row)
        room -= size
    return [_evened(batch) for batch in batches]


def _evened(rows: Rows) -> list[list[Example]]:
    """Deal the examples of a batch out again, longest first, each to the row that is shortest so far.

    Rows are padded to the longest of them, which costs a tenth of all work where they are as they were filled.

    >>> rows = [[Example((1,) * n, ()) for n in (5, 1)], [Example((1,), ())]]
    >>> [[len(e.tokens) for e in row] for row in _evened(rows)]
    [[5], [1, 1]]
    """
    examples = [e for row in rows for e in row]
    dealt: list[list[int]] = [[] for _ in rows]
    lengths = [0] * len(rows)
    for i in sorted(range(len(examples)), key=lambda i: -len(examples[i].tokens)):
        row = lengths.index(min(lengths))
        dealt[row].append(i)
        lengths[row] += len(examples[i].tokens)
    return [[examples[i] for i in sorted(row)] for row in dealt]


def size_of(rows: Rows) -> int:
    """Count the tokens of a batch, padding excluded."""
    return sum(len(e.tokens) for row in rows for e in row)


def share(rows: Rows, process: int, processes: int, device: torch.device) -> tuple[Batch, float]:
    """Collate one process's rows; the factor turns its summed loss into its part of the batch's mean.

    Gradients are averaged over processes, so each part is the sum times processes / targets of the whole batch.
    """
    targets = sum(end - start for row in rows for e in row for start, end in e.spans)
    mine = rows[process::processes]
    factor = processes / max(targets, 1)
    return (collate(mine, device), factor) if mine else (collate(rows[:1], device), 0.0)


def collate(rows: Rows, device: torch.device | str = "cpu") -> Batch:
    """Turn packed rows into tensors; a token sees the earlier tokens of its own example only."""
    import torch

    length = max(sum(len(e.tokens) for e in row) for row in rows)
    tokens = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros((len(rows), length), dtype=np.int64)
    segment = np.tile(-1 - np.arange(length), (len(rows), 1))  # padding: a segment a token, which sees itself
    at: list[int] = []
    labels: list[int] = []
    for r, row in enumerate(rows):
        for number, (start, example) in enumerate(_placed(row)):
            end = start + len(example.tokens)
            tokens[r, start:end] = example.tokens
            positions[r, start:end] = np.arange(end - start)
            segment[r, start:end] = number
            for a, b in example.spans:
                first = max(a, 1)  # nothing precedes token 0, so nothing predicts it
                at.extend(range(r * length + start + first - 1, r * length + start + b - 1))
                labels.extend(example.tokens[first:b])
    mask = (segment[:, :, None] == segment[:, None, :]) & np.tril(np.ones((length, length), dtype=np.bool_))
    arrays = (tokens, positions, mask[:, None], np.array(at, dtype=np.int64), np.array(labels, dtype=np.int64))
    return Batch(*(torch.from_numpy(a).to(device) for a in arrays))


def _placed(row: Sequence[Example]) -> Iterator[tuple[int, Example]]:
    start = 0
    for example in row:
        yield start, example
        start += len(example.tokens)
