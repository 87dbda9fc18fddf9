"""Open a table of the library `datasets`, on the Hugging Face hub or in a folder, and read named columns of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import checks, paths
from harness.errors import ConfigError, DataError, DependencyError, OfflineError

INSTALL = 'pip install -c constraints.txt -e ".[hf]"'
_BATCH_ROWS = 1000
_SAVED = ("dataset_dict.json", "state.json")
"""Files that tell a folder written by the library's save_to_disk."""


class Table(NamedTuple):
    """One split of one configuration of a dataset; `revision` pins a commit of the hub."""

    repository: str
    revision: str | None
    config: str | None
    split: str

    @classmethod
    def of(cls, written: str, dataset: str) -> Table:
        """Read `SPLIT`, `CONFIG/SPLIT` or `NAME[@REVISION]:CONFIG/SPLIT`; without a name it is one of `dataset`.

        >>> Table.of("queries/test", "me/mine@v1")
        Table(repository='me/mine', revision='v1', config='queries', split='test')
        >>> Table.of("me/other:train", "me/mine").repository
        'me/other'
        """
        other, _, inside = written.rpartition(":")
        repository, _, revision = (other or dataset).partition("@")
        config, _, split = inside.rpartition("/")
        return cls(repository, revision or None, config or None, split)

    @property
    def path(self) -> Path:
        """What messages call it."""
        return Path("/".join(filter(None, [f"hf:{self.repository}", self.config, self.split])))


class Row(NamedTuple):
    """One row: the columns asked for, by our own names, and its place (rows are counted from 1)."""

    values: Mapping[str, Any]
    place: checks.Place

    def text(self, key: str, default: str | None = None) -> str:
        """Return a column's text; a number is written out, as ids often are numbers.

        Raises:
            DataError: it is neither, or holds what cannot be written as UTF-8.
        """
        value = self.values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return checks.string({key: value}, key, self.place, default)

    def identifier(self, key: str) -> str:
        """Return a column that is an id."""
        return checks.plain_id(self.text(key), f"a column {key!r}", self.place)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a column that holds a text, a list of texts or nothing."""
        value = self.values.get(key)
        found = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            expected = f"{key!r} to be a text or a list of texts"
            raise self.place.error(expected, checks.shown(value), "name another column")
        return tuple(dict.fromkeys(checks.clean(each, key, self.place) for each in found))


def rows(table: Table, columns: Mapping[str, str], needed: frozenset[str]) -> Iterator[Row]:
    """Yield the rows of a table, batch by batch, with the `columns` (our name -> theirs) that it has.

    Raises:
        ConfigError: it has no such configuration or split, or a column in `needed` (our names) is missing.
        OfflineError: it is not on this machine and the hub cannot be reached.
        DependencyError, DataError: the library is not installed, or cannot read the files.
    """
    found = _opened(table)
    present = {ours: theirs for ours, theirs in columns.items() if theirs.partition(".")[0] in found.column_names}
    if missing := sorted(needed - present.keys()):
        got = f"no column {columns[missing[0]]!r} in {table.path}, which has {', '.join(found.column_names)}"
        fix = f'write columns = {{ {missing[0]} = "…" }} in its settings'
        raise ConfigError(f"a column for {missing[0]!r}", got, fix)
    found = found.select_columns(sorted({theirs.partition(".")[0] for theirs in present.values()}))
    number = 0
    paths = [theirs.split(".") for theirs in present.values()]
    for batch in found.iter(_BATCH_ROWS):
        for values in zip(*(batch[name] for name, *_ in paths), strict=True):
            number += 1
            place = checks.Place(table.path, number)
            reached = (_reached(value, path, place) for value, path in zip(values, paths, strict=True))
            yield Row(dict(zip(present, reached, strict=True)), place)


def _reached(value: Any, path: Sequence[str], place: checks.Place) -> Any:
    """Follow a column's name, cut at its dots, into objects; what is null holds nothing."""
    name, *inner = path
    for key in inner:
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            keys = f"an object with {', '.join(map(repr, value))}" if isinstance(value, dict) else ""
            got = keys or checks.shown(value)
            raise place.error(f"an object with {key!r} in {name!r}", got, "name another column")
        value = value[key]
    return value


def _opened(table: Table) -> Any:
    try:
        import datasets as library
    except ImportError as error:
        raise DependencyError("the library datasets", "it is not installed", f"run: {INSTALL}") from error
    folder = paths.find(table.repository)
    with _readable(table, library):
        if not any((folder / name).is_file() for name in _SAVED):
            name = str(folder) if folder.is_dir() else table.repository
            return library.load_dataset(name, table.config, split=table.split, revision=table.revision)
        saved = library.load_from_disk(str(folder))
    return saved[table.split] if isinstance(saved, dict) and table.split in saved else _lone(saved, table)


def _lone(saved: Any, table: Table) -> Any:
    """Return what save_to_disk wrote without splits, or say which there are; one that was a split is no other."""
    there = list(saved) if isinstance(saved, dict) else [str(saved.split)] if saved.split is not None else []
    if there and table.split not in there:
        raise ConfigError(f"a split of {table.repository}", repr(table.split), f"use one of: {', '.join(there)}")
    return saved


@contextlib.contextmanager
def _readable(table: Table, library: Any) -> Iterator[None]:
    """Turn what the library raises into errors of ours."""
    try:
        yield
    except library.exceptions.DatasetGenerationError as error:
        got = str(error.__cause__ or error)
        raise DataError("a table that can be read", got, "correct or replace the file", file=table.path) from error
    except ValueError as error:
        raise ConfigError(f"the table {table.path}", str(error), "correct 'tables' in its settings") from error
    except OSError as error:
        raise OfflineError(
            f"the dataset {table.repository}, which is fetched once from the Hugging Face hub",
            str(error).partition("\n")[0],
            "load it once where there is a network and copy the cache (HF_HOME), or save it there with save_to_disk "
            "and give the folder, as in hf:FOLDER",
            file=table.path,
        ) from error
    except (RuntimeError, NotImplementedError, library.exceptions.DatasetsError) as error:
        got = f"{type(error).__name__}: {error}".partition("\n")[0]
        fix = "choose a dataset of plain tables (Parquet, JSON, CSV), or convert it into such"
        raise DataError("a table that the library datasets can read", got, fix, file=table.path) from error
