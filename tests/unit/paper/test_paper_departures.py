"""What captions and notes say of models and settings: told from the cells, never from a sentence written beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.markup import Table
from reports.paper import departures, measured, published, redraw, scale
from reports.paper.recipes import RECIPES, Recipe, find
from selfretrieval.evidence import Weights
from selfretrieval.settings import SelfRetrievalSettings, Shares
from tests.unit.paper.kept_cells import cell, hits, write

PRINTED = published.load()
DEFAULTS = SelfRetrievalSettings().model_dump(mode="json")
PAPERS = DEFAULTS | {"negatives": 5, "trim_vocabulary": False}
UNSAID = (
    "backbone",
    "weights",
    "shares",
    "training",
    "dev_assessment",
    "passage_cache_gb",
    "dtype",
    "query_batch",
    "query_tokens",
    "passage_tokens",
    "answer_tokens",
)
"""Settings that `departures.PAPER` leaves out: told elsewhere, budget of the training, or technical."""
OURS = PAPERS | {"assessment": False, "judged": 20, "ranking": "log-linear", "title_prior": 0.5}


def redrawn(recipe: Recipe, cells: list[dict[str, Any]], tmp_path: Path) -> Table:
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    return redraw.redraw(recipe, PRINTED, found, tmp_path / "out").table


def test_every_setting_is_told_or_left_out_on_purpose() -> None:
    assert sorted([*departures.PAPER, *UNSAID]) == sorted(DEFAULTS)
    assert {key for key, value in departures.PAPER.items() if DEFAULTS[key] != value} == {
        "negatives",
        "trim_vocabulary",
    }
    assert Weights().model_dump() == departures.WEIGHTS
    assert {view: share > 0 for view, share in Shares().model_dump().items()} == departures.VIEWS


def test_the_papers_own_settings_depart_in_nothing_and_weights_count_where_they_rank() -> None:
    assert departures.departing(PAPERS) == []
    weights = {"weights": {"title": 0.5, "passage": 1.0}}
    assert departures.departing(PAPERS | weights) == []
    assert departures.departing(PAPERS | weights | {"ranking": "log-linear"}) == [
        'ranking="log-linear"',
        "weights.title=0.5",
    ]
    taught = {"shares": Shares(memorise=0.9, content=0, likelihood=0.1).model_dump()}
    assert departures.departing(PAPERS | taught) == ["shares.content=0.0", "shares.likelihood=0.1"]


def test_no_system_at_the_papers_scale_departs_but_for_its_ablation() -> None:
    plans = [scale.plan(recipe, PRINTED) for recipe in RECIPES]
    for table in (one.table for plan in plans for one in plan.experiments):
        for label, system in table["systems"].items():
            if system["system"] == "self-retrieval" and not label.startswith("without-"):
                own = {key: value for key, value in system.items() if key != "system"}
                settings = SelfRetrievalSettings.model_validate(own).model_dump(mode="json")
                assert departures.departing(settings) == [], label


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.shape != "sizes"], ids=lambda r: r.slug)
def test_every_table_and_figure_tells_departing_settings(recipe: Recipe, tmp_path: Path) -> None:
    measures = dict.fromkeys((*hits(0, 0, 0), "R@1", "R@5", "R@10", "RR@10", "RR@100"), 0.5)
    experiment = recipe.experiment or ""
    more: dict[str, Any] = {"beams": {10: 0.5}, "exact_match": 0.5}
    cells = [
        cell(experiment, "bm25", measures, **more),
        cell(experiment, "self-retrieval", measures, settings=OURS, **more),
        cell(experiment, "self-rerank", measures, settings={"first": "bm25", "judge": OURS}, **more),
    ]
    table = redrawn(recipe, cells, tmp_path)
    (note,) = [note for note in table.notes if note.startswith("Departs from the paper's settings")]
    for setting in ("assessment=false", "judged=20", 'ranking="log-linear"', "title_prior=0.5"):
        assert setting in note
    assert "those of Self-Retrieval stand in the notes" in table.caption
    told = [cells[0], cell(experiment, "self-retrieval", measures, settings=PAPERS, **more), cells[2]]
    told[2]["settings"]["judge"] = PAPERS
    table = redrawn(recipe, told, tmp_path)
    assert not any("Departs" in note for note in table.notes)
    assert "Self-Retrieval stand" not in table.caption


def test_captions_name_the_models_that_were_measured(tmp_path: Path) -> None:
    training = {"queries": 1000}
    cells = [
        cell("standard", "dense", hits(0.1, 0.1, 0.1), settings={"model": "embedded"}),
        cell(
            "standard",
            "dense-finetuned",
            hits(0.1, 0.1, 0.1),
            settings={"model": "BAAI/bge-large-en-v1.5", "training": training},
        ),
        cell(
            "standard",
            "rerank-dense",
            hits(0.1, 0.1, 0.1),
            registered="rerank",
            settings={
                "model": "embedded",
                "first": "dense",
                "dense": {"model": "gtr"},
                "depth": 20,
                "training": {"queries": None},
            },
        ),
        cell("standard", "dsi", hits(0.1, 0.1, 0.1), settings={"backbone": "embedded", "training": {"tokens": 500}}),
        cell("standard", "self-retrieval", hits(0.1, 0.1, 0.1), settings=PAPERS | {"backbone": "stablelm"}),
        cell("standard", "short", hits(0.1, 0.1, 0.1), registered="dsi", settings={"backbone": "embedded#layers=10"}),
    ]
    caption = redrawn(find("table", 1), cells, tmp_path).caption
    models = caption.partition("Models here: ")[2]
    assert models == (
        "dense: all-MiniLM-L6-v2 (23M parameters); "
        "dense-finetuned: BAAI/bge-large-en-v1.5, trained on at most 1,000 of the training queries; "
        "rerank-dense: all-MiniLM-L6-v2 (23M parameters), trained on the training pairs, "
        "reads the first 20 (the paper: 100), of what gtr found; "
        "dsi: SmolLM2-135M; self-retrieval: stablelm; short: SmolLM2-135M, its first 10 layers."
    )


def test_one_budget_of_tokens_is_said_and_different_ones_are_not(tmp_path: Path) -> None:
    cells = [
        cell("ablation", name, hits(0.1, 0.1, 0.1), registered="self-retrieval", settings={"training": {"tokens": 500}})
        for name in ("self-retrieval", "without-titles")
    ]
    assert "500 training tokens for each language model" in redrawn(find("table", 4), cells, tmp_path).caption
    cells[1]["settings"] = {"training": {"tokens": 600}}
    assert "for each language model" not in redrawn(find("table", 4), cells, tmp_path).caption


def test_settings_that_differ_from_dataset_to_dataset_are_told_apart(tmp_path: Path) -> None:
    cells = [
        cell("standard", name, hits(0.1, 0.1, 0.1), dataset=data, registered="self-retrieval", settings=settings)
        for name, data, settings in (
            ("a", "one", PAPERS | {"judged": 5}),
            ("a", "two", PAPERS | {"judged": 6}),
            ("b", "one", PAPERS | {"judged": 5}),
        )
    ]
    notes = [note.partition("(docs/METHOD.md): ")[2] for note in redrawn(find("table", 1), cells, tmp_path).notes]
    assert [note for note in notes if note] == ["a on one, b: judged=5.", "a on two: judged=6."]


def test_what_the_shipped_experiment_does_is_not_said_of_another(tmp_path: Path) -> None:
    values = {"R@1": 0.5, "R@10": 0.5, "RR@100": 0.5}
    shipped = redrawn(find("table", 2), [cell("documents", "bm25", values)], tmp_path)
    assert "leads of Wikipedia articles" in shipped.caption
    other = redrawn(find("table", 2), [cell("paper-nq320k", "bm25", values)], tmp_path)
    assert "experiment paper-nq320k on toy" in other.caption
    assert "leads of Wikipedia articles" not in other.caption
