"""`harness data`: look a dataset over, convert it to BEIR layout, split it anew."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.terminal import say, terminal

if TYPE_CHECKING:
    from harness.datasets import DatasetSettings

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look a dataset over, convert it to BEIR layout, split it anew."
)

DatasetArgument = Annotated[str, typer.Argument(metavar="D", help="A dataset, as `harness list datasets` names them.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there yet.")]
SetsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the dataset, e.g. max_documents=10k; repeatable."),
]


class By(StrEnum):
    """What `harness data split` keeps together."""

    query = "query"
    document = "document"


@data.command()
def inspect(
    dataset: DatasetArgument,
    *,
    sets: SetsOption = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")] = None,
) -> None:
    """Tell sizes, lengths, titles, duplicates, judgements, leaks, checksum and protocol, and show examples."""
    from harness import datasets
    from harness.data_progress import watched
    from harness.datasets import inspect as looking
    from harness.jsonfile import write_json
    from harness.listing import Listing

    settings = _settings(sets)
    with watched() as progress:
        figures = looking.examine(datasets.load(dataset, settings, progress), progress)
    table = Listing(("what", "figure"), list(looking.rows(figures)))
    if console := terminal():
        console.print(table.rich())
    else:
        say("\n".join(table.plain()))
    if json:
        write_json(json, figures, "the figures of a dataset")
        say(str(json))


@data.command()
def convert(dataset: DatasetArgument, out: FolderArgument, *, sets: SetsOption = None) -> None:
    """Write a dataset, with these settings, as a folder in BEIR layout."""
    _write(dataset, _settings(sets), out)


@data.command()
def split(
    dataset: DatasetArgument,
    out: FolderArgument,
    *,
    by: Annotated[By, typer.Option(help="document: queries of one document stay together.")] = By.query,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another seed gives another split.")] = 0,
    shares: Annotated[str, typer.Option(metavar="A,B,C", help="Shares of train, dev and test.")] = "0.6,0.1,0.3",
    sets: SetsOption = None,
) -> None:
    """Split the queries of a dataset anew, by hash, and write it as a folder in BEIR layout."""
    from harness.datasets.splitting import shares_of

    rule = {"by": by.value, "seed": seed, "shares": list(shares_of(shares))}
    _write(dataset, _settings(sets, resplit=rule), out)


def _write(name: str, settings: DatasetSettings, out: Path) -> None:
    from harness import datasets
    from harness.atomic import refuse_existing
    from harness.data_progress import watched
    from harness.datasets import convert as converting

    refuse_existing(out)
    with watched() as progress:
        dataset = datasets.load(name, settings, progress)
        converting.write(dataset, out, progress)
    counts = ", ".join(f"{n:,} {split}" for split, n in dataset.card["queries"].items())
    say(f"{dataset.card['passages']:,} passages; queries: {counts}; checksum {dataset.card['checksum']}")
    for note in dataset.card["notes"]:
        say(f"note: {note}")
    say(str(out))


def _settings(sets: list[str] | None, **more: Any) -> DatasetSettings:
    """Read the settings of the command line.

    Raises:
        ConfigError: one is unknown, or of a wrong form or range.
    """
    from harness.datasets import DatasetSettings
    from harness.errors import ConfigError
    from harness.overrides import parse_setting
    from harness.validation import dotted, validated

    table: dict[str, Any] = {}
    for setting in sets or ():
        path, value = parse_setting(setting)
        here = table
        for part in path[:-1]:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise ConfigError(f"one value for {dotted(path[:-1])}", repr(setting), "leave one of the two out")
        here[path[-1]] = value
    if taken := table.keys() & more.keys():
        raise ConfigError("settings that no option gives", f"--set {min(taken)}…", "use the options of this command")
    return validated(DatasetSettings, {**table, **more}, "the command line")
