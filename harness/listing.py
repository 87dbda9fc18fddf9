"""Tables of what there is: systems, datasets, experiments, measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import BaseModel

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


def settings(name: str) -> Listing:
    """List every setting of a registered system, as `--set systems.LABEL.KEY=VALUE` takes it, with its default.

    Raises:
        UnknownNameError: nobody registered `name`.
    """
    from harness import registry

    return Listing(("setting", "default", "what it is"), list(_settings(registry.get(name).config)))


def _settings(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str, str]]:
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, BaseModel):
            yield from _settings(type(default), f"{before}{key}.")
        else:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            one_of = f"One of: {', '.join(map(json.dumps, choices))}." if choices else ""
            said = f"{field.description or ''} {one_of}".replace("`", "")
            yield before + key, "none" if default is None else json.dumps(default), " ".join(said.split())


KINDS: Mapping[str, Callable[[], Listing]] = {
    "systems": systems,
    "datasets": datasets,
    "experiments": experiments,
    "measures": measures,
}


def listed(kind: str, system: str | None = None) -> Listing:
    """Make the listing of a kind; "settings" are those of a system, which the others have no use for.

    Raises:
        ConfigError: a system is named without need, or needed and not named.
        UnknownNameError: nobody registered the system.
    """
    from harness.errors import ConfigError

    if kind == "settings" and system:
        return settings(system)
    if kind == "settings":
        raise ConfigError("the name of a system", "none", "name one, as in: harness list settings bm25")
    if system:
        raise ConfigError(f"nothing behind {kind!r}", repr(system), f"give: harness list {kind}")
    return KINDS[kind]()


def _system(name: str) -> tuple[str, str, str]:
    from harness import registry
    from harness.errors import HarnessError

    try:
        system = registry.get(name)
    except (HarnessError, ImportError, AttributeError) as error:
        reason = error.got if isinstance(error, HarnessError) else str(error)
        return name, "–", f"cannot be loaded: {reason}"
    return name, system.family, system.summary
