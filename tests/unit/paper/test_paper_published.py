"""The published numbers: golden values, and that a file that is not as it should be is refused."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, UnknownNameError
from reports.paper import published
from reports.paper.recipes import RECIPES, find

ORIGINAL = json.loads((resources.files("reports.paper") / "published.json").read_text(encoding="utf-8"))


def test_numbers_are_those_that_are_printed() -> None:
    found = published.load()
    assert sorted(found.tables) == [1, 2, 3, 4, 5, 7, 8, 9]
    assert [len(found.tables[n].rows) for n in (1, 2, 3, 4, 5, 7, 8, 9)] == [19, 11, 11, 4, 4, 3, 18, 6]
    assert found.tables[1].figure("Self-Retrieval (StableLM)", "nq.hits@1") == 62.16
    assert found.tables[1].figure("BM25", "triviaqa.mrr@5") == 28.35
    assert found.tables[3].figure("GenRet", "recall@5") is None
    assert found.tables[9].rows[-1] == ("Self-Retrieval", 30, 100, 6.06, 81.49)
    assert found.datasets["nq-10k"]["passages"] == 291_506
    assert sorted(found.figures) == [2, 3, 4]
    assert found.citation == ORIGINAL["source"].split(". Facts only")[0]
    assert "NeurIPS 2024" in found.citation


def test_every_table_and_figure_has_a_recipe_that_fits_it() -> None:
    found = published.load()
    names = [recipe.name for recipe in RECIPES]
    assert names == [f"Table {n}" for n in range(1, 10)] + [f"Figure {n}" for n in (2, 3, 4)]
    for recipe in RECIPES:
        if recipe.shape not in ("rows", "beams"):
            continue
        table = found.tables[recipe.number]
        rows = {table.text(row, table.name_column) for row in table.rows}
        assert recipe.counterparts.keys() <= rows
        assert len(set(recipe.counterparts.values())) == len(recipe.counterparts)
        if recipe.shape == "rows":
            assert {column.rpartition(".")[2] for column in table.figures} == recipe.measures.keys()


def test_what_there_is_not_is_said() -> None:
    assert find("figure", 4).title == "Size of the corpus"
    with pytest.raises(UnknownNameError, match=r"use one of 2, 3, 4"):
        find("figure", 1)


def broken(change: str) -> Any:
    record = json.loads(json.dumps(ORIGINAL))
    table = record["table1_passage_retrieval"]
    if change == "short row":
        table["rows"][0].pop()
    elif change == "text among figures":
        table["rows"][0][3] = "14.54"
    elif change == "figure among texts":
        table["rows"][0][1] = 25
    elif change == "more than all":
        table["rows"][0][3] = 114.54
    elif change == "no source":
        del record["source"]
    elif change == "no dataset":
        record["datasets"] = {}
    return record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("short row", "Table 1, row.*8 values for 9 columns"),
        ("text among figures", "'14.54' under 'nq.hits@1'"),
        ("figure among texts", "25 under 'system'"),
        ("more than all", "out of range"),
        ("no source", "KeyError: 'source'"),
        ("no dataset", "no source, no table or no dataset"),
    ],
)
def test_another_form_is_refused(change: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    file.write_text(json.dumps(broken(change)))
    with pytest.raises(DataError, match=said) as caught:
        published.load(file)
    assert caught.value.file == file
    file.write_text("{")
    with pytest.raises(DataError, match="published numbers"):
        published.load(file)
