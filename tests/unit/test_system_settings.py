"""The settings of every registered system."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from harness import cli, registry
from harness.listing import settings


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


@pytest.mark.parametrize("system", registry.names())
def test_every_setting_says_what_it_is(system: str) -> None:
    """It is what `harness list settings SYSTEM` prints."""
    assert [setting for setting, _, what in settings(system).rows if not what or what.startswith("One of")] == []


def test_settings_are_listed_with_their_defaults_and_choices() -> None:
    rows = {setting: (default, what) for setting, default, what in settings("self-retrieval").rows}
    assert rows["training.tokens"][0] == "100000" and rows["judged"][0] == "none"
    assert rows["curriculum"][1].endswith('One of: "staged", "mixed".')
    assert "shares" not in rows and rows["shares.memorise"][0] == "0.55"


@pytest.mark.parametrize("arguments", [["settings"], ["settings", "bm52"], ["systems", "bm25"]])
def test_a_listing_that_cannot_be_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("system", ["self-retrieval", "dense-reader"])
def test_all_tokens_are_learned_with_the_whole_vocabulary_alone(system: str) -> None:
    config = registry.get(system).config
    table = {"training": {"loss": "all tokens"}}
    with pytest.raises(ValidationError, match="trim_vocabulary = false"):
        config.model_validate(table)
    assert config.model_validate({**table, "trim_vocabulary": False})


def test_tables_are_found() -> None:
    assert {"training", "dense", "dsi.training"} <= {path for path, _ in nested(registry.get("rerank").config)}
