"""Where passages, queries and judgements come from: find a dataset by name, sample it, and write its card."""

from __future__ import annotations

from harness.datasets.settings import DatasetSettings
from harness.errors import UnknownNameError
from harness.progress import SILENT, Progress
from harness.types import Dataset

__all__ = ["DatasetSettings", "load", "names"]

_WHOLE = DatasetSettings()


def names() -> list[tuple[str, str]]:
    """List what `load` takes, with one line each; `beir:PATH` stands for any path."""
    from harness.datasets import builtin, sources

    return [*builtin.names(), *sources.names()]


def load(name: str, settings: DatasetSettings = _WHOLE, progress: Progress = SILENT) -> Dataset:
    """Load a dataset: `vital-articles/500` (1k, 2k, 5k, 10k), `SOURCE:WHAT`, or the path of a set in BEIR layout.

    A path that is not there is looked for in the folder that the environment variable HARNESS_DATA names.
    The card tells source, licence, counts and protocol, what was left out (notes), and a checksum over what is used.

    Raises:
        UnknownNameError: the name is none of these; near names are suggested.
        ConfigError: a setting does not fit the data.
        DataError: the data cannot be used; names the file and the line.
        DependencyError: a package that holds or reads the data is not installed.
    """
    from harness.datasets import finishing, stored

    progress.phase("read", unit="passages")
    with stored.watched(progress):
        dataset = _read(name, settings)
    return finishing.finish(dataset, settings, progress)


def _read(name: str, settings: DatasetSettings) -> Dataset:
    from harness.datasets import beir, builtin, paths, sources

    sources.suits(name, settings)
    if (found := sources.of(name)) is not None:
        return sources.load(*found, settings)
    if name in dict(builtin.names()):
        return builtin.load(name, settings)
    if name and (paths.means_path(name) or paths.in_data_folder(name) is not None):
        return beir.load(name, settings)
    raise UnknownNameError.of(
        f"dataset, an existing folder, or one in the folder that {paths.DATA_VARIABLE} names", name, dict(names())
    )
