"""Check a table of settings against its pydantic model and say in one message what is wrong with it."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harness.errors import ConfigError
from harness.printable import shortened

Model = TypeVar("Model", bound=BaseModel)
Key = str | int
LONGEST_VALUE = 200
"""Characters of a wrong value that a message shows."""
CONTAINERS: Mapping[Any, int] = {dict: 1, list: 0, tuple: 0}
"""Container type -> which of its type arguments describes an element."""


def validated(model: type[Model], table: Mapping[str, Any], origin: str, prefix: Sequence[Key] = ()) -> Model:
    """Build a `model` from a `table` as TOML or JSON give it, without silent conversions ("3" is no number).

    Args:
        model: what the table must fit.
        table: keys and values; dates are read as text.
        origin: where the table came from, for the message (a file, "the command line").
        prefix: dotted path of the table itself, for the message.

    Raises:
        ConfigError: unknown keys (with near names), missing keys, values of a wrong type or out of range.
    """
    try:
        return model.model_validate_json(_json(table, origin, prefix), strict=True)
    except ValidationError as error:
        problems = [_problem(model, problem, tuple(prefix)) for problem in error.errors(include_url=False)]
    got = "; ".join(dict.fromkeys(got for got, _ in problems))
    fix = "; ".join(dict.fromkeys(fix for _, fix in problems))
    raise ConfigError(f"usable settings in {origin}", got, fix)


def searched_with(settings: Model, changes: Mapping[str, Any], of_search: Collection[str]) -> Model:
    """Return the settings of a trained system with `changes` of those that only its search uses.

    Raises:
        ConfigError: a setting or value there is not, or a change of what the system was trained or built with.
    """
    wanted = validated(type(settings), {**settings.model_dump(mode="json"), **changes}, "with_settings")
    fixed = sorted(n for n in changes if n not in of_search and getattr(wanted, n) != getattr(settings, n))
    if fixed:
        raise ConfigError(
            f"settings of the search: {', '.join(sorted(of_search))}",
            f"other {', '.join(fixed)} than this system was trained or built with",
            "leave them out, or train another system with them",
        )
    return wanted


def dotted(path: Iterable[Key]) -> str:
    """Write a path as TOML does.

    >>> dotted(["datasets", "vital-articles/500", "max_passage_words"])
    'datasets."vital-articles/500".max_passage_words'
    """
    parts = (str(part) for part in path)
    return ".".join(
        part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False) for part in parts
    )


def _json(table: Mapping[str, Any], origin: str, prefix: Sequence[Key]) -> str:
    """Write a table as JSON; refuse what JSON cannot hold: what a cell is told is written down as JSON too."""
    try:
        text = json.dumps(table, default=str)
        endless = [(dotted(path), value) for path, value in _numbers(table, tuple(prefix)) if not math.isfinite(value)]
    except (ValueError, RecursionError) as error:
        fix = "write smaller numbers and flatter tables"
        raise ConfigError(f"usable settings in {origin}", f"a value that JSON cannot hold ({error})", fix) from error
    if endless:
        got = "; ".join(f"{name} = {value} (not a finite number)" for name, value in endless)
        fix = f"correct {', '.join(name for name, _ in endless)}"
        raise ConfigError(f"usable settings in {origin}", got, fix)
    return text


def _numbers(value: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], float]]:
    """Yield the fractions in a table with their paths."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _numbers(inner, (*path, place))


def _problem(model: type[BaseModel], problem: Mapping[str, Any], prefix: tuple[Key, ...]) -> tuple[str, str]:
    """Turn one pydantic error into (what came, what to do)."""
    place: tuple[Key, ...] = tuple(problem["loc"])
    path = dotted([*prefix, *place]) or "the table"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        table = dotted([*prefix, *place[:-1]]) or "the top level"
        fix = f"write {dotted([*prefix, *place[:-1], *near])}" if near else f"remove {path}"
        return f"the unknown key {path}", f"{fix} (known in {table}: {', '.join(sorted(known)) or 'none'})"
    if problem["type"] == "missing":
        return f"no {path}", f"add {path}"
    said = str(problem["msg"]).removeprefix("Value error, ")
    return (
        f"{path} = {shortened(repr(problem['input']), LONGEST_VALUE)} ({said[:1].lower()}{said[1:]})",
        f"correct {path}",
    )


def _keys_at(annotation: Any, path: Sequence[Key]) -> list[str]:
    """List the keys of the table at `path` below a model or an annotation that holds one; empty if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return [] if field is None else _keys_at(field.annotation, path[1:])
    arguments = get_args(annotation)
    if get_origin(annotation) in CONTAINERS:
        return _keys_at(arguments[CONTAINERS[get_origin(annotation)]], path[1:])
    return next((keys for keys in (_keys_at(argument, path) for argument in arguments) if keys), [])
