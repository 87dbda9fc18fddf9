"""What all commands share: arguments, and how they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ConfigError
from harness.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


class ReaderGoneError(Exception):
    """Nobody reads standard output any more."""


RunFolderArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/quick.")]
SystemsOption = Annotated[str | None, typer.Option(metavar="A,B", help="Only these systems, by their labels.")]
DatasetOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this dataset of the run.")]


def names_of(text: str | None) -> list[str] | None:
    """Split "a, b" into its names; None where the option was left out.

    Raises:
        ConfigError: no name stands in it.
    """
    if text is None:
        return None
    names = [name for part in text.split(",") if (name := part.strip())]
    if not names:
        raise ConfigError("at least one system", repr(text), "name a system, or leave the option out for all")
    return names


def terminal() -> Console | None:
    """Return a console where standard output is a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else None


def say(text: str) -> None:
    """Print to standard output, at once; what a terminal would obey, such as an escape in a title, as text."""
    try:
        print(printable(text), flush=True)  # noqa: T201 - the command line is the place to print
    except BrokenPipeError as error:
        raise ReaderGoneError from error
