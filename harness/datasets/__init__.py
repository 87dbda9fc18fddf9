"""Where passages, queries and judgements come from: find a dataset by name, sample it, and write its card."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from harness.datasets.settings import DatasetSettings
from harness.errors import DataError, UnknownNameError
from harness.types import Dataset

__all__ = ["DatasetSettings", "load", "names"]

_WHOLE = DatasetSettings()
_BEIR = "beir:"
_HUBS = ("hf:", "irds:")
DATA_VARIABLE = "HARNESS_DATA"
"""Environment variable: a folder of datasets, each a folder in BEIR layout, which their names alone then find."""


def names() -> list[tuple[str, str]]:
    """List what `load` takes, with one line each; `beir:PATH` stands for any folder in BEIR layout."""
    from harness.datasets import builtin

    return [*builtin.names(), ("beir:PATH", "a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv")]


def load(name: str, settings: DatasetSettings = _WHOLE) -> Dataset:
    """Load a dataset: `vital-articles/500` (1k, 2k, 5k, 10k), `beir:PATH`, or the path of a folder in BEIR layout.

    A path that is not there is looked for in the folder that the environment variable HARNESS_DATA names.
    The card tells source, licence, counts and protocol, what was left out (notes), and a checksum over what is used.

    Raises:
        UnknownNameError: the name is none of these; near names are suggested.
        DataError: the data cannot be used; names the file and the line.
        DependencyError: the package that holds the data is not installed.
    """
    return _finish(_read(name, settings), settings)


def _read(name: str, settings: DatasetSettings) -> Dataset:
    from harness.datasets import beir, builtin, checks

    if name.startswith(_HUBS):
        forms = ", ".join(known for known, _ in names())
        raise UnknownNameError(
            "a dataset that is on this machine",
            f"{name!r}, an id of a hub",
            f"save the set as a folder in BEIR layout and give its path; accepted: {forms}",
        )
    if name in dict(builtin.names()):
        return builtin.load(name, settings)
    given = name.removeprefix(_BEIR)
    path = _path(given)
    if given and not checks.exists(path) and (kept := _in_data_folder(given)) is not None:
        return beir.load(kept, settings)
    if given and (name != given or _means_path(given, path)):
        return beir.load(path, settings)
    raise UnknownNameError.of(
        f"dataset, an existing folder, or one in the folder that {DATA_VARIABLE} names", name, dict(names())
    )


def _in_data_folder(given: str) -> Path | None:
    """Find a folder of that name among the reader's own datasets."""
    from harness.datasets import checks

    kept = os.environ.get(DATA_VARIABLE)
    if not kept or Path(given).is_absolute() or ".." in Path(given).parts:
        return None
    path = _path(kept) / given
    return path if checks.exists(path) else None


def _path(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise DataError("the path of a folder", f"{given!r} ({error})", "write the path in full") from error


def _means_path(given: str, path: Path) -> bool:
    from harness.datasets import checks

    return path.is_absolute() or given.startswith((".", "~")) or checks.exists(path)


def _finish(dataset: Dataset, settings: DatasetSettings) -> Dataset:
    from pyarrow import compute

    from harness.datasets import sampling, stored

    test = sampling.sample(dataset.test, settings.max_test_queries)
    sampled = replace(dataset, test=test)
    notes = list(dataset.card["notes"])
    for split in (dataset.train, dataset.dev):
        if leaked := sampling.leaks(test, [split]):
            notes.append(f"{len(leaked)} of {len(test)} test queries occur in {split.name} too ({_some(leaked)})")
    card = {
        "name": dataset.name,
        **dataset.card,
        "passages": len(dataset.corpus),
        "documents": compute.count_distinct(dataset.corpus.table.column("document")).as_py(),
        "queries": {split.name: len(split) for split in (dataset.train, dataset.dev, test)},
        "checksum": stored.checksum(sampled),
        "protocol": {**dataset.card["protocol"], "sample": sampling.describe(len(test), len(dataset.test))},
        "notes": notes,
    }
    return replace(sampled, card=card)


def _some(qids: list[str]) -> str:
    return ", ".join(qids[:3]) + (", …" if len(qids) > 3 else "")
