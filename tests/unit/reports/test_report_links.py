"""From a row of a table to the folder its figures come from; and how many comparisons a p value was corrected for."""

from __future__ import annotations

import json
from pathlib import Path

from reports import growth, queries, tables
from reports.build import build
from reports.load import load
from reports.markup import to_csv, to_md, to_tex
from reports.summary import limits
from tests.unit.reports.sample_run import write_sample


def test_each_row_leads_to_the_folder_of_its_cell(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "run", beams=(1, 10), answers=True)
    report = load(run)
    (section,) = report.sections
    built = tables.tables(report, section) | {"wins": queries.table(section, queries.read(section))}
    page = build(run).read_text()
    for table in (built["significance"], built["wins"]):
        (own,) = (part for part in page.split("</table>") if f'id="t-{table.slug}"' in part)
        assert own.count('<a href="../vital-articles-500/') == 2 * len(table.lines)
        assert '<td class="text"><a href="../vital-articles-500/dense/0/">dense</a></td>' in own
    assert "[bm25](../vital-articles-500/bm25/0/)" in (run / "report" / "report.md").read_text()
    for name in ("quality", "cost", "slices", "beams", "answers"):
        for line in built[name].lines:
            assert (run / line.cells[0].link).is_dir()
            assert line.cells[0].link == f"vital-articles-500/{line.cells[0].text}/0"
        text = to_md(built[name], "../")
        assert "[bm25](../vital-articles-500/bm25/0/)" in text or name in ("beams", "answers")
        assert "[self-retrieval](../vital-articles-500/self-retrieval/0/)" in text
        assert "](" not in to_md(built[name])
        assert "vital-articles-500/bm25" not in to_tex(built[name]) + to_csv(built[name])
    for name in ("significance", "significance-all", "wins"):
        for line in built[name].lines:
            assert [cell.link for cell in line.cells[:2]] == [
                f"vital-articles-500/{cell.text}/0" for cell in line.cells[:2]
            ]
        assert "vital-articles-500/" not in to_tex(built[name]) + to_csv(built[name]) + to_md(built[name])


def test_each_size_of_a_collection_leads_to_its_own_cell(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "run", datasets=("vital-articles/1k", "vital-articles/2k"), slices=False, queries=20)
    (found,) = growth.find(load(run))
    for line in growth._table(found).lines:
        name, *figures = line.cells
        folders = [f"vital-articles-{size}/{name.text}/0" for size in ("1k", "2k")]
        assert [cell.link for cell in figures] == [folders[0], folders[0], folders[1], folders[1]]
        assert all((run / folder).is_dir() for folder in folders)


def test_several_seeds_lead_to_the_folder_that_holds_them(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "run", seeds=(0, 1))
    report = load(run)
    links = {line.cells[0].link for line in tables.quality(report, report.sections[0]).lines}
    assert "vital-articles-500/bm25" in links
    assert all((run / link / "1").is_dir() for link in links)


def test_the_correction_says_for_how_many_comparisons(tmp_path: Path) -> None:
    report = load(write_sample(tmp_path / "run"))
    (section,) = report.sections
    # 7 systems have results; 4 of them are baselines of all the others, on 8 measures.
    assert len(section.comparisons) == (3 * 4 + 4 * 3) * 8
    caption = tables.significance(section, (section.primary,)).caption
    assert "Holm's correction runs over all 192 comparisons of this dataset" in caption


def test_of_several_seeds_each_is_corrected_for_its_own_comparisons(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "run", seeds=(0, 1))
    (section,) = load(run).sections
    assert "over the 192 comparisons of each seed" in tables.significance(section, (section.primary,)).caption
    path = run / "significance.json"
    rows = [row for row in json.loads(path.read_text()) if (row["seed"], row["baseline"]) != (1, "dsi")]
    path.write_text(json.dumps(rows))
    (section,) = load(run).sections
    table = tables.significance(section, (section.primary,))
    assert "over the comparisons of each seed on this dataset (seed 0: 192, seed 1: 144), those" in table.caption
    against_dsi = [line.cells for line in table.lines if line.cells[1].text == "dsi"]
    assert against_dsi
    assert {cells[-1].text for cells in against_dsi} == {"not tested on every seed"}


def test_one_seed_says_that_its_spread_is_unknown(tmp_path: Path) -> None:
    one, two = (load(write_sample(tmp_path / str(len(s)), seeds=s)) for s in ((7,), (0, 1)))
    assert any("One seed (7): how far figures vary from seed to seed is unknown" in said for said in limits(one))
    assert not any("is unknown" in said for said in limits(two))
