"""Change an experiment from the command line: other datasets, other systems, outside runs, single settings."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from harness import registry
from harness.errors import ConfigError, UnknownNameError
from harness.validation import dotted

Table = dict[str, Any]
_UNREADABLE = (ValueError, RecursionError)
"""What tomllib raises for what is no TOML, has more digits than Python reads, or tables in tables without end."""


def apply(
    table: Table,
    *,
    datasets: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
    sets: Sequence[str] = (),
    seed: int | None = None,
    limit: int | None = None,
    runs: Sequence[str] = (),
) -> Table:
    """Return a copy of an experiment's `table` with the changes made; the order is datasets, systems, runs, settings.

    Args:
        table: the experiment as its TOML file holds it.
        datasets: names that replace the experiment's; settings are kept where the name is the same.
        systems: labels of the experiment, outside runs too, or systems it does not name (these with default settings).
        sets: "dotted.key=value" with a TOML value; a value that is not TOML is taken as text.
        seed: the only seed to run.
        limit: how many queries to evaluate, from the first.
        runs: outside runs to add, as `parse_run` reads them; one that the experiment names too is replaced.

    Raises:
        ConfigError: a setting or a run is not of that form, or belongs to no dataset or system of this run.
        UnknownNameError: a system is neither in the experiment nor registered.
    """
    changed = copy.deepcopy(table)
    if datasets is not None:
        chosen = _names(datasets, "dataset")
        changed["runs"] = _runs_on(changed.get("runs", {}), set(changed["datasets"]) - set(chosen))
        changed["datasets"] = {name: changed["datasets"].get(name, {}) for name in chosen}
    if systems is not None:
        chosen = _names([part for name in systems for part in name.split(",")], "system")
        outside = changed.get("runs", {})
        changed["systems"] = {name: _system(name, changed["systems"]) for name in chosen if name not in outside}
        changed["runs"] = {name: run for name, run in outside.items() if name in chosen}
    if runs:
        changed["runs"] = {**changed.get("runs", {}), **_given_runs(runs)}
    for setting in sets:
        path, value = parse_setting(setting)
        _put(changed, path, value)
    if seed is not None:
        changed["seeds"] = [seed]
    if limit is not None:
        changed["limit"] = limit
    return changed


def parse_setting(setting: str) -> tuple[list[str], Any]:
    """Split "dotted.key=value" into the key's parts and the value.

    >>> parse_setting("systems.bm25.b=0.75")
    (['systems', 'bm25', 'b'], 0.75)
    >>> parse_setting('datasets."vital-articles/500".max_passage_words=40')
    (['datasets', 'vital-articles/500', 'max_passage_words'], 40)
    >>> parse_setting("systems.dsi.docid=naive")
    (['systems', 'dsi', 'docid'], 'naive')
    """
    for cut in (place for place, sign in enumerate(setting) if sign == "="):
        path = _path(setting[:cut])
        if path is not None:
            return path, _value(setting[cut + 1 :].strip(), setting)
    raise ConfigError(
        "a setting such as systems.bm25.b=0.75",
        repr(setting),
        "write dotted.key=value; quote a part with other signs: 'datasets.\"vital-articles/500\".max_passage_words=40'",
    )


def parse_run(given: str) -> tuple[str, str | None, str]:
    """Split an outside run into its label, the dataset (None: the only one) and the file.

    >>> parse_run("colbert=runs/colbert.trec"), parse_run("colbert@vital-articles/500=colbert.gz")
    (('colbert', None, 'runs/colbert.trec'), ('colbert', 'vital-articles/500', 'colbert.gz'))
    """
    name, _, file = (part.strip() for part in given.partition("="))
    label, at, dataset = (part.strip() for part in name.partition("@"))
    if not (label and file and bool(at) == bool(dataset)):
        expected = "an outside run as NAME=FILE, or NAME@DATASET=FILE where there are several datasets"
        raise ConfigError(expected, repr(given), "write, for example, --run colbert=colbert.trec")
    return label, dataset or None, file


def _given_runs(given: Sequence[str]) -> Table:
    """Gather the runs of the command line; ConfigError where one is given two files for one dataset."""
    found: Table = {}
    for label, dataset, file in map(parse_run, given):
        run = found.setdefault(label, {})
        files = run if dataset is None else run.setdefault("files", {})
        key = "file" if dataset is None else dataset
        if key in files:
            got = f"{files[key]!r} and {file!r}"
            raise ConfigError(f"one file for the outside run {label!r} and a dataset", got, "leave one of them out")
        files[key] = file
    return found


def _runs_on(runs: Table, gone: Collection[str]) -> Table:
    """Leave out the files for datasets that are `gone`, and runs that had no others."""
    kept = {}
    for label, run in runs.items():
        files = {name: file for name, file in run.get("files", {}).items() if name not in gone}
        if files or run.get("file") is not None:
            kept[label] = {**run, "files": files}
    return kept


def _path(text: str) -> list[str] | None:
    """Read a TOML key; None where `text` is none (a "=" inside quotes cuts one in two)."""
    try:
        here: Any = tomllib.loads(f"{text.strip()} = 0")
    except _UNREADABLE:
        return None
    path = []
    while isinstance(here, dict):
        if len(here) != 1:
            return None
        [(part, here)] = here.items()
        path.append(part)
    return path


def _value(text: str, setting: str) -> Any:
    """Read a TOML value, or the text itself where it is none and does not look like the start of one."""
    try:
        read = tomllib.loads(f"value = {text}")
    except _UNREADABLE:
        read = {}
    if list(read) == ["value"]:
        return read["value"]
    if not text or text[0] in "\"'[{":
        raise ConfigError(
            "a TOML value after '='", repr(setting), 'write a number, true, "text", [a, list] or a bare word'
        )
    return text


def _put(table: Table, path: Sequence[str], value: Any) -> None:
    """Set the value at `path`, making tables on the way, but no new dataset and no new system."""
    for group in ("datasets", "systems"):
        if path[0] == group and len(path) > 1 and isinstance(table[group], dict) and path[1] not in table[group]:
            raise UnknownNameError.of(f"name in {group} of this run", path[1], table[group])
    if path[0] == "systems" and path[2:] == ["like"]:
        fix = "write a system that is like another into an experiment's file"
        raise ConfigError(f"settings of {path[1]} itself", f"{dotted(path)} = {value!r}", fix)
    here = table
    for depth, part in enumerate(path[:-1], start=1):
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise ConfigError(
                f"a table at {dotted(path[:depth])}",
                f"the single value {here!r}",
                f"set {dotted(path[:depth])} itself",
            )
    here[path[-1]] = value


def _names(given: Iterable[str], kind: str) -> list[str]:
    """Strip names and drop repetitions and empty ones."""
    names = [name for name in dict.fromkeys(name.strip() for name in given) if name]
    if not names:
        raise ConfigError(f"at least one {kind}", "none", f"name a {kind}, or leave the option out for all")
    return names


def _system(name: str, own: Table) -> Table:
    """Return the experiment's settings for the label `name`, or none for a system it does not name."""
    if name in own:
        found: Table = own[name]
        return found
    if name not in registry.names():
        raise UnknownNameError.of("system", name, {*own, *registry.names()})
    return {}
