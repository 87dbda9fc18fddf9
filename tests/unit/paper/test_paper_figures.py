"""The redrawn figures: their points, what is said on their face, and files in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.paper import measured, points, published, redraw
from reports.paper.recipes import RECIPES, find
from tests.unit.paper.kept_cells import cell, hits, write

PRINTED = published.load()
CAPACITY = [
    cell(
        "capacity",
        f"layers-{n}",
        hits(n / 100, n / 50, n / 75),
        registered="self-retrieval",
        parameter_bytes=n * 10_000_000,
        settings={"backbone": f"embedded#layers={n}"},
    )
    for n in (30, 10)
]
RERANKING = [
    cell("reranking", "bm25", hits(0.1, 0.2, 0.15)),
    cell("reranking", "dsi", hits(0.1, 0.2, 0.05)),
    cell("reranking", "cross", hits(0.1, 0.2, 0.25), registered="rerank", settings={"first": "bm25"}),
    cell("reranking", "cross-dsi", hits(0.1, 0.2, 0.01), registered="rerank", settings={"first": "dsi"}),
    cell("reranking", "judged", hits(0.1, 0.2, 0.35), registered="self-rerank", settings={"first": "bm25"}),
    cell("reranking", "judged-dsi", hits(0.1, 0.2, 0.45), registered="self-rerank", settings={"first": "dsi"}),
]
SIZES = [
    cell(
        "corpus-size", system, hits(0.5, 0.6 + len(system) / 100, 0.7), dataset=f"set/{documents}", documents=documents
    )
    for system in ("bm25", "self-retrieval", "oracle")
    for documents in (500, 2000)
]
UNKNOWN = cell("corpus-size", "bm25", hits(0.5, 0.6, 0.7), dataset="set/unknown", documents=None)
HALF = cell("corpus-size", "dense", {"Success@1": 0.5}, dataset="set/500", documents=500)


def shown(number: int, cells: list[dict[str, Any]], tmp_path: Path) -> points.Points:
    recipe = find("figure", number)
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    return points.points(recipe, PRINTED, measured.choose(recipe, found))


def test_capacity_is_the_size_of_the_weights(tmp_path: Path) -> None:
    found = shown(2, CAPACITY, tmp_path)
    assert [(p.series, p.at, p.x, p.values["Hits@1"], p.source) for p in found.here] == [
        ("toy", "layers-30: 300\u202fMB of weights", 3e8, pytest.approx(30), "0layers-"),
        ("toy", "layers-10: 100\u202fMB of weights", 1e8, pytest.approx(10), "0layers-"),
    ]
    assert [(p.series, p.x, p.values) for p in found.published] == [
        ("StableLM, NQ", 2.8e9, {"Hits@1": 62.16, "Hits@5": 79.28}),
        ("Llama 2, NQ", 6.74e9, {"Hits@1": 63.44, "Hits@5": 79.29}),
    ]
    assert {p.source for p in found.published} == {"Table 1"}


def test_rerankers_are_told_by_their_settings(tmp_path: Path) -> None:
    found = shown(3, RERANKING, tmp_path)
    assert [(p.series, p.at, round(p.values["MRR@5"])) for p in found.here] == [
        ("bm25", "own order", 15),
        ("bm25", "cross-encoder", 25),
        ("bm25", "self-assessment", 35),
        ("dsi", "own order", 5),
        ("dsi", "cross-encoder", 1),
        ("dsi", "self-assessment", 45),
    ]
    assert [(p.series, p.at, p.values["MRR@5"], p.source) for p in found.published] == [
        ("DPR-FT", "own order", 42.91, "Table 1"),
        ("SEAL", "own order", 46.29, "Table 1"),
        ("GritLM", "own order", 51.14, "Table 1"),
        ("GritLM", "cross-encoder", 67.21, "Table 8"),
    ]


def test_corpora_stand_at_their_number_of_documents(tmp_path: Path) -> None:
    found = shown(4, [*SIZES, UNKNOWN, HALF], tmp_path)
    assert [(p.series, p.x) for p in found.here] == [
        ("bm25", 500),
        ("bm25", 2000),
        ("self-retrieval", 500),
        ("self-retrieval", 2000),
    ]
    assert found.published == ()


def test_each_set_has_a_line_of_its_own_through_its_sizes(tmp_path: Path) -> None:
    cells = [
        cell(f"paper-corpus-{name}-{n}k", "self-retrieval", hits(0.5, 0.6, 0.7), dataset=f"kilt:{name}", documents=n)
        for name in ("nq", "triviaqa")
        for n in (10, 40)
    ]
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    made = redraw.redraw(find("figure", 4), PRINTED, found, tmp_path)
    assert made.measured is not None
    assert made.measured.brief == "4 experiments"
    shown = points.points(made.recipe, PRINTED, made.measured)
    assert [(p.series, p.x) for p in shown.here] == [
        (f"self-retrieval, kilt:{name}", n) for name in ("nq", "triviaqa") for n in (10, 40)
    ]
    assert "here: 10 to 40 documents" in made.table.caption


@pytest.mark.parametrize(("number", "cells"), [(2, CAPACITY), (3, RERANKING), (4, SIZES), (2, []), (3, []), (4, [])])
def test_the_face_says_published_and_measured_here(
    number: int, cells: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    faces: list[str] = []
    save = Figure.savefig

    def watched(self: Figure, *arguments: Any, **keywords: Any) -> None:
        said = [axes.get_title(loc="left") for axes in self.axes] + [t.get_text() for a in self.axes for t in a.texts]
        faces.append("\n".join(said).replace("\n", " "))
        save(self, *arguments, **keywords)

    monkeypatch.setattr(Figure, "savefig", watched)
    recipe = find("figure", number)
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    made = redraw.redraw(recipe, PRINTED, found, tmp_path / "out")
    assert len(faces) == 3
    assert all("published" in face and "measured here" in face for face in faces)
    assert all((f"harness run {recipe.experiment}" in face) == (not cells) for face in faces)
    assert [file.suffix for file in made.files] == [".md", ".tex", ".csv", ".png", ".svg", ".pdf"]
    assert all(file.stat().st_size > 40 for file in made.files)
    assert made.drawing is not None
    assert "Points are drawn, not printed" in made.drawing.caption
    assert ("no points" in made.drawing.alt) == (not cells or number == 4)


def test_figures_come_out_the_same_each_time(tmp_path: Path) -> None:
    found = measured.gather([write(tmp_path / "kept.json", RERANKING)], [])
    for name in ("one", "two"):
        redraw.redraw(find("figure", 3), PRINTED, found, tmp_path / name)
    for ending in ("png", "svg", "pdf", "md"):
        one, two = ((tmp_path / name / f"figure-3.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_all_of_them_stand_on_one_page(tmp_path: Path) -> None:
    found = measured.gather([write(tmp_path / "kept.json", [*CAPACITY, *RERANKING, *SIZES])], [])
    made = [redraw.redraw(recipe, PRINTED, found, tmp_path) for recipe in RECIPES]
    text = redraw.page(made, tmp_path).read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {r.name}: {r.title.replace('#', '')}" for r in RECIPES
    ]
    for number in (2, 3, 4):
        assert f"](figure-{number}.png)" in text
