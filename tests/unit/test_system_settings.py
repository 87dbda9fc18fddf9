"""The settings of every registered system."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from harness import registry


def nested(config: type[BaseModel], path: str = "") -> list[tuple[str, BaseModel]]:
    """List the tables in `config` that have a default, by their paths."""
    found: list[tuple[str, BaseModel]] = []
    for name, field in config.model_fields.items():
        if isinstance(field.default, BaseModel):
            found += [(path + name, field.default), *nested(type(field.default), f"{path}{name}.")]
    return found


@pytest.mark.parametrize("system", registry.names())
def test_a_table_given_in_part_keeps_its_other_defaults(system: str) -> None:
    """A default such as `Table(size=8)` would be lost as soon as an experiment sets any other key of the table."""
    changed = [path for path, default in nested(registry.get(system).config) if default != type(default)()]
    assert changed == []


def test_tables_are_found() -> None:
    assert {"training", "dense", "dsi.training"} <= {path for path, _ in nested(registry.get("rerank").config)}
