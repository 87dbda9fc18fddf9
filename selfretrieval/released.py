r"""Retrieval the way the authors' released scripts do it, for timing and checking: three `generate` passes a question.

Written from the paper and what the scripts are known to do: the trie is nested dictionaries keyed by strings, a
Python callback walks it from the root for every beam at every step, and each pass reads the whole prompt again.

    1. titles       beams of the question's prompt, ended by the first token of the boundary
    2. passages     for each title, beams of the prompt with that title, until the passage is unique
    3. assessment   for each passage, the refusal behind the prompt with title and passage

One thing is better than there: passages are searched by beam until they are unique, not by their first token alone,
so that both ways find the same candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.lm.session import padded
from selfretrieval import prompts
from selfretrieval.memory import boundary_of

if TYPE_CHECKING:
    import torch

    from harness.lm.backbone import Backbone
    from selfretrieval.memory import Memory

_ROWS = "rows"
Allowed = Callable[[int, "torch.Tensor"], list[int]]


class Found(NamedTuple):
    """One passage: its corpus rows, the score of its title and the probability of the refusal."""

    rows: tuple[int, ...]
    title_score: float
    p_reject: float


class Released:
    """Answers one question at a time from a memory and a backbone over its whole vocabulary."""

    def __init__(self, backbone: Backbone, memory: Memory, *, title_beams: int, passage_beams: int) -> None:
        self._backbone, self._memory = backbone, memory
        self._title_beams, self._passage_beams = title_beams, passage_beams
        self._trie = _nested(memory)
        self._boundary = boundary_of(backbone)
        self._cue = backbone.encode([prompts.ANSWER])[0]
        self._refusal = backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0]

    def search(self, question: str, *, assessment: bool = True) -> list[Found]:
        """Return every candidate of a question; without assessment p_reject is 0."""
        prompt = self._backbone.encode([prompts.question(question) + prompts.TITLE])[0]
        found: list[Found] = []
        for title, score in self.titles(prompt):
            head = [*prompt, *title, *self._boundary]
            rows = self._passages(prompt, head)
            judged = self._assess(head, rows) if assessment else [0.0] * len(rows)
            found += [Found(r, score, p) for r, p in zip(rows, judged, strict=True)]
        return found

    def titles(self, prompt: list[int]) -> list[tuple[list[int], float]]:
        """Return the titles written behind a prompt, each with its length-normalised log-probability."""
        out = self._generate(
            [prompt], self._walk(len(prompt)), self._title_beams, self._memory.trie.height, self._boundary[0]
        )
        written = [_before(row, self._boundary[0]) for row in out.sequences[:, len(prompt) :].tolist()]
        scored = zip(written, out.sequences_scores.tolist(), strict=True)
        return [(tokens, score) for tokens, score in scored if score > -1e8]

    def _passages(self, prompt: list[int], head: list[int]) -> list[tuple[int, ...]]:
        """List the corpus rows of each passage found behind a title."""
        title = _follow(self._trie, head[len(prompt) :])
        if _ROWS in title:
            return [title[_ROWS]]  # the title alone settles it
        out = self._generate([head], self._walk(len(prompt)), self._passage_beams, self._memory.trie.height)
        found = []
        for row, score in zip(out.sequences[:, len(head) :].tolist(), out.sequences_scores.tolist(), strict=True):
            node = title
            for token in row:
                node = node.get(str(token), node)
            if score > -1e8 and _ROWS in node:
                found.append(node[_ROWS])
        return found

    def _assess(self, head: list[int], candidates: Sequence[tuple[int, ...]]) -> list[float]:
        """Let each candidate's text be followed by the refusal; return exp of its mean token log-probability."""
        import torch

        if not candidates:
            return []
        memory = self._memory
        bodies = [memory.sequences[rows[0]][memory.heads[rows[0]] : -1].tolist() for rows in candidates]
        texts = [[*head, *body, *self._cue] for body in bodies]
        width = max(len(text) for text in texts)
        out = self._generate(
            texts, lambda _, ids: [self._refusal[len(ids) - width]], 1, len(self._refusal), output_logits=True
        )
        logprobs = torch.stack(
            [torch.log_softmax(step.float(), dim=-1)[:, t] for step, t in zip(out.logits, self._refusal, strict=True)]
        )
        probabilities: list[float] = logprobs.mean(dim=0).exp().tolist()
        return probabilities

    def _walk(self, start: int) -> Allowed:
        """Allow what the trie holds behind the tokens from `start` on; looked up from the root each time."""

        def allowed(_: int, ids: torch.Tensor) -> list[int]:
            node = _follow(self._trie, ids.tolist()[start:])
            return [int(token) for token in node if token != _ROWS] or [self._backbone.end]

        return allowed

    def _generate(
        self,
        texts: Sequence[Sequence[int]],
        allowed: Allowed,
        beams: int,
        longest: int,
        end: int | None = None,
        **more: Any,
    ) -> Any:
        import torch

        tokens = padded([text[::-1] for text in texts])[:, ::-1]
        with torch.inference_mode():
            return self._backbone.model.generate(
                torch.from_numpy(tokens.clip(0)).to(self._backbone.device),
                attention_mask=torch.from_numpy((tokens >= 0).astype("int64")).to(self._backbone.device),
                prefix_allowed_tokens_fn=allowed,
                num_beams=beams,
                num_return_sequences=beams,
                max_new_tokens=longest,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=beams > 1,
                eos_token_id=self._backbone.end if end is None else end,
                pad_token_id=self._backbone.end,
                **more,
            )


def _nested(memory: Memory) -> dict[str, Any]:
    """Build the dictionaries: every branch ends, as in the trie, where the passage is unique."""
    root: dict[str, Any] = {}
    cuts = memory.heads + memory.cuts()
    for row, cut in enumerate(cuts.tolist()):
        node = root
        for token in memory.sequences[row][:cut].tolist():
            node = node.setdefault(str(token), {})
        node[_ROWS] = (*node.get(_ROWS, ()), row)
    return root


def _follow(node: dict[str, Any], tokens: Sequence[int]) -> dict[str, Any]:
    for token in tokens:
        if str(token) not in node:
            return {}
        node = node[str(token)]
    return node


def _before(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
