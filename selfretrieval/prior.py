"""How probable is what must be written of each passage when nobody asked: P(prefix | title), computed once.

Behind a question a passage of frequent words is likely whatever was asked. Taking log P(prefix | title) from
log P(prefix | question, title) leaves their pointwise mutual information. An addition to the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import require_lattice
from harness.lm.ragged import Int64
from harness.progress import SILENT, Progress
from selfretrieval import prompts
from selfretrieval.assess import token_logprobs
from selfretrieval.memory import Floats, Memory

_ROW_TOKENS = 512
"""Tokens fed behind one copy of a title, unless one entry has more: bounds the memory."""
_ROWS = 16
"""Titles read at once."""


def priors(backbone: Backbone, memory: Memory, progress: Progress = SILENT) -> Floats:
    """Return the (entries,) log-probability of each entry's tokens up to its cut, behind its title alone."""
    cuts = memory.cuts()
    cue = backbone.encode([prompts.TITLE if memory.heads.any() else prompts.PASSAGE])[0]
    rows = _rows(memory, cuts)
    found = np.zeros(len(memory.rows))
    progress.phase("prior", len(rows), "titles")
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        heads = [[*cue, *memory.sequences[entries[0]][: memory.heads[entries[0]]].tolist()] for entries in some]
        targets = [[memory.target(e, int(cuts[e])) for e in entries] for entries in some]
        found[np.concatenate([np.array(e) for e in some])] = _totals(backbone, heads, targets)
        progress.advance(len(some))
    return found


def _rows(memory: Memory, cuts: Int64) -> list[list[int]]:
    """Group the entries that need tokens by title, at most `_ROW_TOKENS` together."""
    groups: dict[bytes, list[list[int]]] = {}
    room: dict[bytes, int] = {}
    for entry in np.flatnonzero(cuts > 0).tolist():
        title = memory.sequences[entry][: memory.heads[entry]].tobytes()
        mine = groups.setdefault(title, [])
        if room.get(title, 0) < cuts[entry]:
            mine.append([])
            room[title] = _ROW_TOKENS
        mine[-1].append(entry)
        room[title] -= int(cuts[entry])
    return [row for rows in groups.values() for row in rows]


def _totals(backbone: Backbone, heads: Sequence[list[int]], targets: Sequence[Sequence[list[int]]]) -> Floats:
    """Sum the log-probabilities of each target behind its head; flat, in order."""
    import torch

    lattice = require_lattice(backbone)
    states, slots = lattice.prefill(heads)
    flat = [(row, target) for row, mine in enumerate(targets) for target in mine]
    parents: list[int] = []
    fed: list[int] = []
    at: list[int] = []  # of each target token the state that predicts it; those of the heads come first
    for row, target in flat:
        at.append(row)
        for place, token in enumerate(target[:-1]):
            parents.append(lattice.next_slot + len(fed) - 1 if place else int(slots[row]))
            fed.append(token)
            at.append(len(heads) + len(fed) - 1)
    if fed:
        states = torch.cat([states, lattice.feed(np.array(parents), np.array(fed))[0]])
    wanted = np.array([token for _, target in flat for token in target])
    values = token_logprobs(backbone, states[lattice.on_device(np.array(at))], wanted)
    owner = np.repeat(np.arange(len(flat)), [len(target) for _, target in flat])
    return np.bincount(owner, values, minlength=len(flat)).astype(np.float64)
