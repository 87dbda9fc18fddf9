"""Tables of what there is: systems, datasets, experiments, measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Listing:
    """A table of text."""

    headings: tuple[str, ...]
    rows: Rows

    def plain(self) -> list[str]:
        """Write the table as aligned lines for a pipe: headings, then one line a row.

        >>> Listing(("name", "what"), [("bm25", "words"), ("dsi", "ids")]).plain()
        ['name  what', 'bm25  words', 'dsi   ids']
        """
        lines = [self.headings, *([printable(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.headings))]
        return ["  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]

    def rich(self) -> Table:
        """Draw the table for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(self.headings):
            table.add_column(heading, no_wrap=number == 0)
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table


def systems() -> Listing:
    """List every registered system; one that cannot be imported says why instead of its summary."""
    from harness import registry

    return Listing(("name", "family", "summary"), [_system(name) for name in registry.names()])


def datasets() -> Listing:
    """List the datasets that can be named."""
    from harness import datasets as sets

    return Listing(("name", "what it is"), sets.names())


def experiments() -> Listing:
    """List the experiments that come with the package."""
    from harness import experiment

    return Listing(("name", "title"), experiment.shipped())


def measures() -> Listing:
    """List the measures that are computed unless an experiment names others."""
    from harness import measures as all_measures

    rows = [(label, name, what) for name, label, what in all_measures.known()]
    return Listing(("measure", "ir_measures name", "what it is"), rows)


KINDS: Mapping[str, Callable[[], Listing]] = {
    "systems": systems,
    "datasets": datasets,
    "experiments": experiments,
    "measures": measures,
}


def _system(name: str) -> tuple[str, str, str]:
    from harness import registry
    from harness.errors import HarnessError

    try:
        system = registry.get(name)
    except (HarnessError, ImportError, AttributeError) as error:
        reason = error.got if isinstance(error, HarnessError) else str(error)
        return name, "–", f"cannot be loaded: {reason}"
    return name, system.family, system.summary
