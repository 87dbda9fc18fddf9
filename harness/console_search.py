"""Ask the trained systems of a run one question and lay their answers side by side."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import finished
from harness.errors import ConfigError, HarnessError
from harness.printable import printable
from harness.records import Cell
from harness.store import RunFolder

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.panel import Panel

    from harness.types import Corpus, Hit

BRACKET = "bracket"
FIRST_WORDS = 160
"""Characters of a passage that are shown."""

NARROWEST = 38
"""Columns of the terminal below which a system's answers are not squeezed."""


@dataclass(frozen=True)
class Answer:
    """What one system says; `problem` instead of hits where it could not be asked.

    search_ms: milliseconds of this one search, the first after loading.
    """

    system: str
    hits: tuple[Hit, ...] = ()
    search_ms: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Question:
    """One question to the systems of one dataset of a run."""

    text: str
    folder: RunFolder
    dataset: str
    cells: tuple[Cell, ...]
    others: tuple[str, ...] = ()
    """Datasets of the run that are not asked."""

    @classmethod
    def of(cls, folder: Path, text: str, systems: Sequence[str] | None = None, dataset: str | None = None) -> Question:
        """Find whom to ask: systems named, or all but brackets and outside runs; on `dataset` or the run's first.

        Raises:
            RunFolderError: `folder` holds no run, or a run without cells.
            UnknownNameError: the run has no such system or dataset.
            ConfigError: the question is empty.
        """
        if not text.strip():
            raise ConfigError("a question", "an empty text", "write the question in quotes after the run folder")
        run = RunFolder(folder)
        datasets = finished.datasets(run)
        chosen = dataset or datasets[0]
        cells = finished.pick(run, systems, chosen)
        picked = tuple(cell for cell in cells if systems or not (cell.outside or cell.family == BRACKET))
        return cls(text, run, chosen, picked, tuple(d for d in datasets if d != chosen))

    def answers(self, k: int, clock: Callable[[], float] = time.perf_counter) -> Iterator[Answer]:
        """Ask one system after the other for `k` hits each; a system that cannot answer says why."""
        from harness.datasets import stored

        corpus = stored.open_folder(self.folder.data_folder(self.dataset)).corpus
        for cell in self.cells:
            try:
                answer = self._ask(cell, corpus, k, clock)
            except (HarnessError, OSError) as error:
                answer = Answer(cell.system, problem=f"cannot answer: {_one_line(str(error))}")
            except Exception as error:  # whatever a library makes of a damaged model; the others can still be asked
                answer = Answer(cell.system, problem=f"cannot answer: {type(error).__name__}: {_one_line(str(error))}")
            yield answer

    def _ask(self, cell: Cell, corpus: Corpus, k: int, clock: Callable[[], float]) -> Answer:
        problem = finished.problem(self.folder, cell)
        if problem:
            return Answer(cell.system, problem=_one_line(problem))
        retriever = finished.load(self.folder, cell)
        began = clock()
        (hits,) = retriever.search([self.text], k)
        search_ms = 1000 * (clock() - began)
        return Answer(cell.system, tuple(_filled(hit, corpus) for hit in hits), search_ms)


def _filled(hit: Hit, corpus: Corpus) -> Hit:
    passage = corpus[corpus.row_of[hit.docid]]
    return hit._replace(title=passage.title, text=passage.text)


def plain(answer: Answer) -> list[str]:
    """Write an answer as lines.

    >>> plain(Answer("dsi", problem="has not run yet"))
    ['dsi — has not run yet']
    """
    return [_heading(answer), *(f"  {rank:>2}  {line}" for rank, line in enumerate(_lines(answer), 1))]


def side_by_side(answers: Sequence[Answer], width: int) -> RenderableType:
    """Draw the answers as boxes, as many beside each other as `width` columns of a terminal hold."""
    from rich.columns import Columns

    abreast = max(1, min(len(answers), width // NARROWEST))
    return Columns([_box(answer, width // abreast - 1) for answer in answers], padding=(0, 1))


def _box(answer: Answer, width: int) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    body = Text("\n\n").join(Text(f"{rank}  {line}") for rank, line in enumerate(_lines(answer), 1))
    heading = Text(_heading(answer), style="red" if answer.problem else "bold")
    return Panel(body, title=heading, title_align="left", width=width)


def _heading(answer: Answer) -> str:
    if answer.problem:
        return printable(f"{answer.system} — {answer.problem}")
    return f"{printable(answer.system)} — {answer.search_ms:.1f} ms" + ("" if answer.hits else ", nothing found")


def _lines(answer: Answer) -> list[str]:
    return [
        f"{hit.score:.4g}  {_one_line(hit.title) or printable(hit.docid)}: {_first_words(hit.text)}"
        for hit in answer.hits
    ]


def _first_words(text: str) -> str:
    return textwrap.shorten(_one_line(text), FIRST_WORDS, placeholder=" …")


def _one_line(text: str) -> str:
    """Join lines and drop control characters, which a terminal might obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
