"""Find registered systems: entry points of the group "harness.systems", one `System` each."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from harness.errors import ConfigError, UnknownNameError
from harness.retriever import System

GROUP = "harness.systems"


@cache
def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {e.name: e for e in metadata.entry_points(group=GROUP)}


def names() -> list[str]:
    """List the names of all registered systems, sorted, without importing them."""
    return sorted(_entry_points())


def get(name: str) -> System:
    """Return the system registered as `name`.

    Raises:
        UnknownNameError: nobody registered it; near names are suggested.
        ConfigError: what is registered is not a `System`.
    """
    entry = _entry_points().get(name)
    if entry is None:
        raise UnknownNameError.of("system", name, _entry_points())
    system = entry.load()
    if not isinstance(system, System):
        raise ConfigError(
            f"entry point {entry.value!r} to be a harness.retriever.System",
            type(system).__name__,
            f"fix the {GROUP} entry point of the package that registers {name!r}",
        )
    return system
