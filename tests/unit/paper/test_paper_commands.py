"""`harness paper` as a user gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from harness import cli, launch
from reports.paper import commands, measured, starting
from reports.paper.recipes import RECIPES, find
from reports.paper.scale import Plan
from tests.unit.paper.kept_cells import cell, hits, write


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(write(tmp_path / "kept.json", [cell("standard", "bm25", hits(0.5, 0.5, 0.5))]))


def harness(*arguments: str) -> int:
    return cli.main(["paper", *arguments])


def test_list_names_tables_1_to_9_and_figures_2_to_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 12
    for recipe, line in zip(RECIPES, lines[1:], strict=True):
        assert line.startswith(recipe.name)
    assert "no Table 6 in the file" in lines[6]


def test_a_table_is_printed_and_written(results: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("table", "1", "--results", results, "--out", "out") == 0
    out = capsys.readouterr().out
    assert "| sparse | BM25 | – | 14.54 |" in out
    assert [line for line in out.splitlines() if line.startswith("out/")] == [
        f"out/table-1.{ending}" for ending in ("md", "tex", "csv")
    ]
    assert (tmp_path / "out" / "table-1.tex").is_file()


def test_without_results_the_published_numbers_stand_alone(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("table", "7") == 0
    out = capsys.readouterr().out
    assert "58.43" in out
    assert "run harness run short-passages" in out


def test_all_writes_one_page(results: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("all", "--results", results, "--out", "out") == 0
    out = capsys.readouterr().out
    assert "Table 1   standard\n" in out
    assert "Figure 4  nothing measured here yet\n" in out
    assert out.splitlines()[-1] == "out/paper.md"
    assert (tmp_path / "out" / "figure-4.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("figure", "1"), "use one of 2, 3, 4"),
        (("table", "10"), "a table of the paper"),
        (("table", "1", "--results", "nothing.json"), "no such file"),
        (("table", "1", "--run", "nothing"), "no such folder"),
        (("table", "1", "--results", "kept.json", "--experiment", "mine"), "results of standard"),
    ],
)
def test_what_cannot_be_met_ends_with_2(
    arguments: tuple[str, ...], said: str, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(*arguments) == 2
    assert said in capsys.readouterr().err


def test_the_paper_s_scale_says_its_cost_first_and_starts_only_when_told(
    results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "missing", lambda datasets, gpus: iter([f"0 of {gpus} GPUs"]))
    assert harness("table", "1", "--scale", "paper", "--out", "full") == 0
    out = capsys.readouterr().out
    assert out.index("GPU hours") < out.index("full/accelerate-8-gpus.yaml") < out.index("nothing was started")
    assert (tmp_path / "full" / "paper-passages-nq-10k.toml").is_file()
    assert harness("figure", "2", "--scale", "paper", "--out", "full", "--yes") == 2
    told = capsys.readouterr()
    assert "GPU hours" in told.out
    assert "0 of 8 GPUs" in told.err
    assert harness("table", "6", "--scale", "paper") == 0
    assert "nothing to run" in capsys.readouterr().out


PASSAGES = [cell(f"paper-passages-{name}-10k", "bm25", hits(0.5, 0.5, 0.5), dataset=name) for name in ("nq", "trivia")]


def test_what_was_measured_at_the_papers_scale_is_redrawn_once_it_is_there(
    results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []

    def start(plans: list[Plan], out: Path) -> None:
        started.extend(name for plan in plans for name in plan.names)
        write(tmp_path / "full.json", PASSAGES)

    monkeypatch.setattr(starting, "check", lambda plans: None)
    monkeypatch.setattr(starting, "start", start)
    # Results at a laptop's scale fill nothing here.
    assert harness("table", "1", "--scale", "paper", "--results", results, "--out", "full") == 0
    assert not (tmp_path / "full" / "table-1.md").exists()
    (tmp_path / "full.json").write_text(Path(results).read_text())
    given = ("--results", results, "--results", "full.json", "--out", "full")
    assert harness("table", "1", "--scale", "paper", "--yes", *given) == 0
    assert started == ["paper-passages-nq-10k", "paper-passages-triviaqa-10k"]
    assert "experiment paper-passages-nq-10k on nq" in (tmp_path / "full" / "table-1.md").read_text()
    assert "standard" not in (tmp_path / "full" / "table-1.md").read_text().splitlines()[0]


def test_several_experiments_may_be_named(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("full.json"), PASSAGES)
    names = [part for c in PASSAGES for part in ("--experiment", c["experiment"])]
    given = ("--results", results, "--results", "full.json")
    assert harness("table", "1", *given, *names) == 0
    out = capsys.readouterr().out
    assert "nq Hits@1 (measured here)" in out and "trivia Hits@1 (measured here)" in out
    assert "experiment standard" not in out


def test_runs_at_the_papers_scale_and_those_that_are_named_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "standard", "paper-passages-nq-10k", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "experiment.json").touch()
    found = [folder.name for folder in commands._suitable([find("table", 1)], ["mine"])]
    assert found == ["mine", "standard", "paper-passages-nq-10k"]


def test_what_was_just_run_is_shown_beside_what_is_named(
    results: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gathered: list[tuple[list[Path], list[Path]]] = []

    def run(recipes: object) -> None:
        for name in ("short-passages", "named"):
            Path("runs", name).mkdir(parents=True, exist_ok=True)
            Path("runs", name, "experiment.json").touch()

    def gather(files: list[Path], runs: list[Path]) -> list[object]:
        gathered.append((files, runs))
        return []

    monkeypatch.setattr(commands, "_run_experiments", run)
    monkeypatch.setattr(measured, "gather", gather)
    for named in ("runs/named", "runs/../runs/short-passages"):
        assert harness("table", "7", "--results", results, "--run", named, "--run-experiments") == 0
    (_, both), (files, once) = gathered
    assert files == [Path(results)]
    assert sorted(folder.name for folder in both) == ["named", "short-passages"]
    assert [folder.name for folder in once] == ["short-passages"]


@pytest.mark.parametrize("what", [("table", "1"), ("figure", "2"), ("all",)])
def test_experiments_are_run_at_a_laptops_scale_alone(
    what: tuple[str, ...], results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(*what, "--scale", "paper", "--run-experiments") == 2
    told = capsys.readouterr()
    assert "expected --run-experiments with --scale laptop" in told.err
    assert told.out == ""


def test_experiments_are_run_by_the_commands_that_are_listed(
    results: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[tuple[str, ...]] = []
    codes = [0, 1]

    def main(arguments: tuple[str, ...]) -> int:
        given.append(arguments)
        return codes[len(given) - 1]

    monkeypatch.setattr(cli, "main", main)
    # A failed cell (1) shows in the table; anything else ends it.
    commands._run_experiments([find("table", 5)])
    assert given == [("run", "answering"), ("answers", "runs/answering")]
    assert capsys.readouterr().out == "$ harness run answering\n$ harness answers runs/answering\n"
    given.clear()
    codes[:] = [130]
    with pytest.raises(typer.Exit) as ended:
        commands._run_experiments([find("table", 9)])
    assert ended.value.exit_code == 130
    assert given == [("run", "quick")]


def test_each_experiment_of_a_recipe_is_shipped() -> None:
    from harness import experiment
    from reports.paper import published, scale

    shipped = {name for name, _ in experiment.shipped()}
    for recipe in RECIPES:
        assert set(recipe.experiments) <= shipped
        labels = {label for name in recipe.experiments for label in experiment.load(name).systems}
        labels |= {label for one in scale.plan(recipe, published.load()).experiments for label in one.table["systems"]}
        assert set(recipe.counterparts.values()) <= labels
