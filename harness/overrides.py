"""Change an experiment from the command line: other datasets, other systems, single settings."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from harness import registry
from harness.errors import ConfigError, UnknownNameError
from harness.validation import dotted

Table = dict[str, Any]


def apply(
    table: Table,
    *,
    datasets: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
    sets: Sequence[str] = (),
    seed: int | None = None,
    limit: int | None = None,
) -> Table:
    """Return a copy of an experiment's `table` with the changes made; the order is datasets, systems, settings.

    Args:
        table: the experiment as its TOML file holds it.
        datasets: names that replace the experiment's; settings are kept where the name is the same.
        systems: labels of the experiment, or systems it does not name (these with default settings).
        sets: "dotted.key=value" with a TOML value; a value that is not TOML is taken as text.
        seed: the only seed to run.
        limit: how many queries to evaluate, from the first.

    Raises:
        ConfigError: a setting is not of that form, or belongs to no dataset or system of this run.
        UnknownNameError: a system is neither in the experiment nor registered.
    """
    changed = copy.deepcopy(table)
    if datasets is not None:
        chosen = _names(datasets, "dataset")
        changed["datasets"] = {name: changed["datasets"].get(name, {}) for name in chosen}
    if systems is not None:
        chosen = _names([part for name in systems for part in name.split(",")], "system")
        changed["systems"] = {name: _system(name, changed["systems"]) for name in chosen}
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
    >>> parse_setting("systems.dsi.docids=naive")
    (['systems', 'dsi', 'docids'], 'naive')
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


def _path(text: str) -> list[str] | None:
    """Read a TOML key; None where `text` is none (a "=" inside quotes cuts one in two)."""
    try:
        here: Any = tomllib.loads(f"{text.strip()} = 0")
    except tomllib.TOMLDecodeError:
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
    except tomllib.TOMLDecodeError:
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
        if path[0] == group and len(path) > 1 and path[1] not in table[group]:
            raise UnknownNameError.of(f"name in {group} of this run", path[1], table[group])
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
