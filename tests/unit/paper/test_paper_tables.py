"""The redrawn tables: which row stands beside which, what is marked, where a figure comes from."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, RunFolderError
from reports import markup
from reports.paper import measured, published, redraw, tables
from reports.paper.recipes import RECIPES, Recipe, find
from tests.unit.paper.kept_cells import cell, hits, write
from tests.unit.reports.sample_run import write_sample

PRINTED = published.load()
STANDARD = [
    cell("standard", "bm25", hits(0.5, 0.75, 0.6), parameter_bytes=0),
    cell("standard", "oracle", hits(1, 1, 1)),
    cell("standard", "self-retrieval", hits(0.25, 0.5, 0.3), seed=0),
    cell("standard", "self-retrieval", hits(0.75, 0.5, 0.3), seed=1),
    cell("standard", "bm25", hits(0.1, 0.2, 0.15), dataset="other"),
]


def rows_of(recipe: Recipe, cells: list[dict[str, Any]], tmp_path: Path) -> tuple[markup.Table, list[dict[str, str]]]:
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    made = redraw.redraw(recipe, PRINTED, found, tmp_path / "out")
    return made.table, list(csv.DictReader(io.StringIO((tmp_path / "out" / f"{recipe.slug}.csv").read_text())))


def test_published_stands_beside_measured_with_its_cell(tmp_path: Path) -> None:
    table, rows = rows_of(find("table", 1), STANDARD, tmp_path)
    by_name = {row["System"]: row for row in rows if row["System"]}
    bm25, ours, dpr = by_name["BM25"], by_name["Self-Retrieval (StableLM)"], by_name["DPR"]
    assert (bm25["NQ Hits@1 (published)"], bm25["toy Hits@1 (measured here)"]) == ("14.54", "50.0")
    assert bm25["other MRR@5 (measured here)"] == "15.0"
    assert bm25["toy cell"] == "0bm25000"
    # The mean over two seeds, and both cells.
    assert ours["System (measured here)"] == "self-retrieval"
    assert ours["toy Hits@1 (measured here)"] == "50.0"
    assert ours["toy cell"] == "0self-re, 1self-re"
    assert (dpr["toy Hits@1 (measured here)"], dpr["System (measured here)"]) == ("", "")
    assert len(by_name) == 19
    assert "toy (40 queries, data c0ffee00); other (40 queries, data c0ffee00)" in table.caption
    notes = " ".join(table.notes)
    assert "kept.json" in notes
    assert "arXiv 2403.00801" in notes
    assert "means over 1 to 2 seeds, as many as there are fingerprints beside them" in notes
    assert "self-retrieval 20\u202f000 training tokens, 540\u202fMB of weights" in notes


def test_rows_without_a_published_one_are_marked_and_come_last(tmp_path: Path) -> None:
    table, rows = rows_of(find("table", 1), STANDARD, tmp_path)
    assert rows[-1]["group"] == "measured here only"
    assert rows[-1]["System (measured here)"] == "oracle"
    assert rows[-1]["System (measured here) mark"] == "‡"
    assert rows[-1]["NQ Hits@1 (published)"] == ""
    assert [line.muted for line in table.lines] == [False] * 19 + [True]
    assert sum(row["System (measured here) mark"] == "‡" for row in rows) == 1


def test_one_seed_says_that_the_spread_is_unknown(tmp_path: Path) -> None:
    table, _ = rows_of(find("table", 1), STANDARD[:2], tmp_path)
    assert "One seed (0): how far figures vary from seed to seed is unknown." in table.notes


def test_seeds_of_another_recipe_are_left_out_and_named(tmp_path: Path) -> None:
    recipes = [{"tokens": 400}, {"tokens": 200}]
    cells = [
        cell("standard", "self-retrieval", hits(h, h, h), seed=seed, settings=recipe)
        for seed, (h, recipe) in enumerate(zip((0.9, 0.1), recipes, strict=True))
    ]
    for newest, other in ((0, 1), (1, 0)):
        cells[newest]["ended"], cells[other]["ended"] = "2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
        table, rows = rows_of(find("table", 1), cells, tmp_path)
        (ours,) = [row for row in rows if row["System"] == "Self-Retrieval (StableLM)"]
        assert ours["toy Hits@1 (measured here)"] == ("90.0", "10.0")[newest]
        assert ours["toy cell"] == f"{newest}self-re"
        said = (
            f"being of other settings than the newest cell of the system: self-retrieval seed {other} ({other}self-re)."
        )
        assert any(note.endswith(said) for note in table.notes)
        assert f"One seed ({newest}): how far figures vary from seed to seed is unknown." in table.notes


def test_answers_name_the_seed_they_were_measured_on_alone(tmp_path: Path) -> None:
    cells = [cell("answering", "self-retrieval", hits(0.1, 0.1, 0.1), seed=0, exact_match=0.5)]
    cells.append(cell("answering", "self-retrieval", hits(0.1, 0.1, 0.1), seed=1))
    table, rows = rows_of(find("table", 5), cells, tmp_path)
    assert {row["toy cell"] for row in rows if row["toy Exact Match (measured here)"]} == {"0self-re"}
    assert "One seed (0): how far figures vary from seed to seed is unknown." in table.notes


def test_results_on_dev_stand_in_columns_of_their_own(tmp_path: Path) -> None:
    test, dev = (cell("standard", name, hits(0.1, 0.1, 0.1)) for name in ("bm25", "dense"))
    for row in dev["results"]:
        row["split"] = "dev"
    table, _ = rows_of(find("table", 1), [test, dev], tmp_path)
    heads = [head for head in table.heads if head.endswith(" cell")]
    assert heads == [f"toy (40 {split}queries, data c0ffee00) cell" for split in ("", "dev ")]


def test_a_set_cut_to_fewer_queries_says_so_in_the_caption(tmp_path: Path) -> None:
    one = cell("standard", "bm25", hits(0.1, 0.1, 0.1)) | {
        "sample": "the 40 of 900 test queries with the smallest hash"
    }
    table, _ = rows_of(find("table", 1), [one], tmp_path)
    assert "toy (40 queries: the 40 of 900 test queries with the smallest hash, data c0ffee00)" in table.caption


def test_answers_and_beams_fill_their_tables(tmp_path: Path) -> None:
    cells = [
        cell("answering", "dense-reader", hits(0.1, 0.1, 0.1), exact_match=0.25),
        cell("answering", "self-retrieval", hits(0.1, 0.1, 0.1), exact_match=0.5),
        cell("standard", "dsi", hits(0.1, 0.1, 0.1), beams={10: 0.2, 7: 0.1}),
    ]
    answered, rows = rows_of(find("table", 5), cells, tmp_path)
    beside = {row["System"]: row["toy Exact Match (measured here)"] for row in rows}
    assert beside == {
        "BGE-FT + StableLM-FT": "25.0",
        "Self-Retrieval 3B": "50.0",
        "BGE-FT + Llama2-FT": "",
        "Self-Retrieval 7B": "",
    }
    assert "Of the 40 queries of toy, the answers here: the first 5." in answered.notes
    table, rows = rows_of(find("table", 9), cells, tmp_path)
    assert "Of the 40 queries of toy, every beam here: the first 5." in table.notes
    assert [(row["System"], row["Beam"]) for row in rows[-2:]] == [("Self-Retrieval", "100"), ("dsi", "7")]
    (ten,) = [row for row in rows if (row["System"], row["Beam"]) == ("DSI-XL", "10")]
    assert (ten["Latency, s (published)"], ten["toy Latency, s (measured here)"]) == ("0.23", "0.01")
    assert (ten["toy Hits@5 (measured here)"], ten["toy Index memory, MB (measured here)"]) == ("20.0", "2.0")
    assert ten["toy cell"] == "0dsi0000"
    assert len(table.lines) == 7


def test_beams_of_several_seeds_are_averaged_and_each_is_named(tmp_path: Path) -> None:
    seeds = [cell("standard", "dsi", hits(0.1, 0.1, 0.1), seed=s, beams={10: 0.25 + 0.25 * s}) for s in (0, 1)]
    _, rows = rows_of(find("table", 9), seeds, tmp_path)
    (ten,) = [row for row in rows if (row["System"], row["Beam"]) == ("DSI-XL", "10")]
    assert (ten["toy Hits@5 (measured here)"], ten["toy cell"]) == ("37.5", "0dsi0000, 1dsi0000")


def test_cells_of_fewer_queries_stand_in_columns_of_their_own(tmp_path: Path) -> None:
    whole, few = (cell("standard", name, hits(0.1, 0.1, 0.1)) for name in ("bm25", "dense"))
    for row in few["results"]:
        row["n"] = 7
    table, _ = rows_of(find("table", 1), [whole, few], tmp_path)
    assert any("40 queries" in head for head in (table.caption, *table.notes, *table.heads))
    assert any("7 queries" in head for head in (table.caption, *table.notes, *table.heads))


def test_a_run_without_beams_or_answers_fills_nothing(tmp_path: Path) -> None:
    for number, experiment in ((9, "standard"), (5, "answering"), (2, "documents")):
        table, _ = rows_of(find("table", number), [cell(experiment, "dsi", hits(0.1, 0.1, 0.1))], tmp_path)
        assert "Measured here: nothing yet." in table.caption
    assert any("harness run documents" in note for note in table.notes)


def test_sizes_of_data_sets_claim_no_table_6(tmp_path: Path) -> None:
    table, rows = rows_of(find("table", 6), STANDARD, tmp_path)
    assert "names no Table 6" in table.caption and "not claimed" in table.caption
    by_name = {row["Data set"]: row for row in rows}
    assert by_name["nq-40k"]["Passages"] == "979804"
    assert (by_name["toy"]["Documents"], by_name["toy"]["Passages"], by_name["toy"]["Data"]) == (
        "500",
        "1000",
        "c0ffee00",
    )


def test_the_experiments_own_results_come_first_and_another_may_be_named(tmp_path: Path) -> None:
    cells = [cell("quick", "bm25", hits(0.1, 0.1, 0.1)), *STANDARD, cell("mine", "bm25", hits(0.9, 0.9, 0.9))]
    found = measured.gather([write(tmp_path / "kept.json", cells)], [])
    chosen = measured.choose(find("table", 1), found)
    assert chosen is not None and chosen.experiment == "standard"
    other = measured.choose(find("table", 1), found, ["mine"])
    assert other is not None and other.data[0].groups["bm25"].percent("Success@1") == pytest.approx(90)
    both = measured.choose(find("table", 1), found, ["mine", "quick"])
    assert both is not None and [data.label for data in both.data] == ["toy of mine", "toy of quick"]
    assert measured.choose(find("table", 4), found) is None
    with pytest.raises(DataError, match="results of quick, standard, mine"):
        measured.choose(find("table", 1), found, ["mine", "yours"])


def test_of_the_experiments_that_are_there_the_first_that_fills_it_is_taken(tmp_path: Path) -> None:
    cells = [cell("standard", "dsi", hits(0.1, 0.1, 0.1)), cell("quick", "dsi", hits(0.1, 0.1, 0.1), beams={10: 0.2})]
    table, rows = rows_of(find("table", 9), cells, tmp_path)
    assert "experiment quick on toy" in table.caption
    assert [row["toy Hits@5 (measured here)"] for row in rows if row["toy cell"]] == ["20.0"]
    plain, _ = rows_of(find("table", 1), cells, tmp_path)
    assert "experiment standard on toy" in plain.caption


def both_sets(name: str, size: str, **keywords: Any) -> list[dict[str, Any]]:
    """One cell of each of the two sets at the paper's scale; Hits@1 10 and 20 percent."""
    found = zip(("nq", "triviaqa"), (0.1, 0.2), strict=True)
    return [
        cell(f"{name}-{s}-{size}", "self-retrieval", hits(one, 0.5, 0.5), dataset=f"kilt:kilt/{s}", **keywords)
        for s, one in found
    ]


def test_results_at_the_papers_scale_stand_beside_one_another(tmp_path: Path) -> None:
    cells = both_sets("paper-passages", "10k")
    table, rows = rows_of(find("table", 1), cells, tmp_path)
    (ours,) = [row for row in rows if row["System"] == "Self-Retrieval (StableLM)"]
    assert ours["kilt:kilt/nq Hits@1 (measured here)"] == "10.0"
    assert ours["kilt:kilt/triviaqa Hits@1 (measured here)"] == "20.0"
    assert "experiment paper-passages-nq-10k on kilt:kilt/nq (40 queries" in table.caption
    assert "; experiment paper-passages-triviaqa-10k on kilt:kilt/triviaqa (40 queries" in table.caption
    # Without being asked for by name they give way to what the shipped experiment gave.
    mixed, _ = rows_of(find("table", 1), [*cells, *STANDARD], tmp_path)
    assert "experiment standard on" in mixed.caption and "paper-passages" not in mixed.caption


def test_experiments_on_data_of_one_name_keep_columns_of_their_own(tmp_path: Path) -> None:
    cells = [c for size in ("10k", "40k") for c in both_sets("paper-answers", size, exact_match=int(size[0]) / 10)]
    table, rows = rows_of(find("table", 5), cells, tmp_path)
    assert len(set(table.heads)) == len(table.heads)
    (ours,) = [row for row in rows if row["System"] == "Self-Retrieval 3B"]
    assert ours["kilt:kilt/nq of paper-answers-nq-10k Exact Match (measured here)"] == "10.0"
    assert ours["kilt:kilt/nq of paper-answers-nq-40k Exact Match (measured here)"] == "40.0"


def test_run_folders_are_read_and_count_more_than_kept_results(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "standard", beams=(1, 10), answers=True)
    stale = cell("standard", "bm25", hits(0.0, 0.0, 0.0), dataset="vital-articles/500")
    found = measured.gather([write(tmp_path / "kept.json", [stale])], [run])
    chosen = measured.choose(find("table", 1), found)
    assert chosen is not None
    (data,) = chosen.data
    value = data.groups["bm25"].value("Success@1")
    assert value is not None and value > 0.2
    assert data.groups["self-retrieval"].value("answers.exact_match") == pytest.approx(0.53 * 0.6)
    assert data.corpus == {"passages": 500, "documents": 500}
    assert measured.choose(find("table", 9), found) is not None
    with pytest.raises(RunFolderError, match="no such file"):
        measured.gather([tmp_path / "nothing.json"], [])


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.kind == "table"], ids=lambda r: r.slug)
def test_heads_say_where_each_number_is_from(recipe: Recipe, tmp_path: Path) -> None:
    experiment = recipe.experiment or ""
    measures = dict.fromkeys([m for m in recipe.measures.values() if "." not in m], 0.5)
    cells = [
        cell(experiment, label, measures, beams={10: 0.5}, exact_match=0.5) for label in recipe.counterparts.values()
    ]
    table, _ = rows_of(recipe, cells or STANDARD, tmp_path)
    if recipe.shape == "sizes":
        assert {line.group for line in table.lines} == {tables.PUBLISHED, tables.HERE}
        return
    plain = ("System", "Variant", "Parameters", "Beam")
    for head in table.heads:
        assert head in plain or "(published)" in head or "(measured here)" in head or head.endswith(" cell")
    assert any("(published)" in head for head in table.heads)
    assert any("(measured here)" in head for head in table.heads)
    text = (tmp_path / "out" / f"{recipe.slug}.md").read_text()
    assert all(f"0{label}"[:8] in text for label in recipe.counterparts.values())
