"""Query likelihood: how probable is the question behind a passage (Ponte and Croft 1998; Sachan et al. 2022)?

An addition to the paper, beside its self-assessment. The text is that of the training view `likelihood`:

    Related document title: {title} Related document content: {passage} Question: *{question}*

A passage is read before the question, so what the model made of it serves every question: its keys and values are
kept, as far as there is room for them, and in half precision, so that there is room for twice as many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice
from harness.lm.objective import refuse_longer
from harness.lm.session import Work
from selfretrieval import prompts
from selfretrieval.assess import chunks, token_logprobs
from selfretrieval.generate import Candidate
from selfretrieval.memory import Memory

if TYPE_CHECKING:
    import torch


class Reader:
    """Judges passages by the questions they raise; keeps the keys and values of those it read last."""

    def __init__(self, backbone: Backbone, memory: Memory, room_bytes: int, query_tokens: int) -> None:
        """Keep at most `room_bytes` of keys and values between questions, which are cut after `query_tokens`."""
        self._backbone, self._memory = backbone, memory
        self._room_bytes, self._query_tokens = room_bytes, query_tokens
        self._kept: OrderedDict[int, Lattice] = OrderedDict()
        self._kept_bytes = 0
        self._dtype: torch.dtype = backbone.model.dtype

    def likelihoods(self, candidates: Sequence[Candidate], questions: Sequence[str], work: Work) -> list[float]:
        """Return for each candidate the mean log-probability of its question's tokens behind its passage.

        Tokens that the vocabulary was trimmed of are left out, though they too tell passages apart
        (`trim_vocabulary = false` keeps them). A question without any other gives 0.

        Args:
            candidates: of all questions of a batch.
            questions: by the candidates' `row`.
            work: counts what is done here.

        Raises:
            ConfigError: a passage does not fit before its question into what the backbone reads.
        """
        *before, last = self._backbone.encode([prompts.ASKED])[0]
        asked = self._backbone.encode_after(prompts.ASKED, [prompts.answer_of(q) for q in questions])
        tails = [[last, *asked[c.row][: self._query_tokens]] for c in candidates]
        lengths = [len(self._memory.sequences[c.items[0]]) + len(t) for c, t in zip(candidates, tails, strict=True)]
        longest = max(lengths, default=0) + len(before)
        refuse_longer(self._backbone, longest, "a passage to judge, before its question,")
        found = np.zeros(len(candidates))
        for chunk in chunks(lengths):
            passages = [candidates[i].items[0] for i in chunk]
            found[chunk] = self._judged(passages, [tails[i] for i in chunk], work)
        result: list[float] = found.tolist()
        return result

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values it keeps."""
        return self._kept_bytes

    def _judged(self, passages: Sequence[int], tails: Sequence[list[int]], work: Work) -> list[float]:
        """Feed each tail behind its passage and score what stands behind its first token."""
        reader, slots = Lattice.joined(self._read(passages, work), self._dtype)
        lengths = np.array([len(t) - 1 for t in tails])  # nothing needs to be predicted behind the last token
        ends = np.cumsum(lengths)
        parents = reader.next_slot - 1 + np.arange(int(ends[-1]))
        parents[ends - lengths] = slots
        hidden, _ = reader.feed(parents, np.concatenate([np.array(t[:-1]) for t in tails]))
        work.add(reader.work)
        owner = np.repeat(np.arange(len(tails)), lengths)
        wanted = np.concatenate([np.array(t[1:], dtype=np.int64) for t in tails])
        values = token_logprobs(self._backbone, hidden, wanted)
        known = np.isfinite(values)
        count = np.bincount(owner[known], minlength=len(tails))
        total = np.bincount(owner[known], values[known], minlength=len(tails))
        means: list[float] = (total / np.maximum(count, 1)).tolist()
        return means

    def _read(self, passages: Sequence[int], work: Work) -> list[Lattice]:
        """Return each passage as it was read, by its first entry; read those that are not kept."""
        read = {entry: self._kept[entry] for entry in passages if entry in self._kept}
        fresh = [entry for entry in dict.fromkeys(passages) if entry not in read]
        texts = [self._text(entry) for entry in fresh]
        for chunk in chunks([len(text) for text in texts]):
            lattice = Lattice(self._backbone)
            lattice.prefill([texts[i] for i in chunk])
            work.add(lattice.work)
            read.update(zip([fresh[i] for i in chunk], lattice.split(_halved(self._dtype)), strict=True))
        for entry in dict.fromkeys(passages):
            self._keep(entry, read[entry])
        return [read[entry] for entry in passages]

    def _text(self, entry: int) -> list[int]:
        """Return what stands before the question, all but the last token of the cue to ask it."""
        memory = self._memory
        cue, asked = self._backbone.encode([prompts.TITLE if memory.heads.any() else prompts.PASSAGE, prompts.ASKED])
        return [*cue, *memory.sequences[entry][:-1].tolist(), *asked[:-1]]

    def _keep(self, entry: int, lattice: Lattice) -> None:
        """Keep a passage as the one used last, in place of those that were not used for longest."""
        if entry not in self._kept:
            self._kept_bytes += lattice.nbytes
        self._kept[entry] = lattice
        self._kept.move_to_end(entry)
        while self._kept_bytes > self._room_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


def _halved(dtype: torch.dtype) -> torch.dtype:
    """Return what to keep values of `dtype` in: float16 for float32 (11 of its 24 bits; attention hardly sees it)."""
    import torch

    return torch.float16 if dtype == torch.float32 else dtype
