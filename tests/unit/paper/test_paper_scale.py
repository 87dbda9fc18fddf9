"""The paper's own scale: costs by hand, experiments that the harness takes, and what is said before anything starts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness import launch, plan
from harness.errors import CellError, ConfigError
from harness.experiment import Experiment
from harness.validation import validated
from reports.paper import cost, published, scale, starting
from reports.paper.cost import Load, Set
from reports.paper.recipes import RECIPES, find

PRINTED = published.load()
PLANS = [made for recipe in RECIPES if (made := scale.plan(recipe, PRINTED)).experiments]


def test_hours_and_bytes_follow_the_rules_of_thumb() -> None:
    load = Load("x", parameters=1e9, train_tokens=312e9 * 0.4, search_tokens=312e9 * 0.15, passages=10)
    # 6 · 1e9 · 124.8e9 FLOP at 124.8e12 FLOP/s are 6e6 s; 2 · 1e9 · 46.8e9 FLOP at 46.8e12 FLOP/s are 2e6 s.
    assert load.training_h == pytest.approx(6e6 / 3600)
    assert load.search_h == pytest.approx(2e6 / 3600)
    assert load.disk_bytes == 14e9 + 30_000
    assert load._replace(train_tokens=0).disk_bytes == 2e9 + 30_000
    assert cost.total([load, load]) == pytest.approx((12e6 / 3600, 4e6 / 3600, 28e9 + 60_000))


def test_what_does_not_fit_a_gpu_is_said() -> None:
    """Weights, gradients and two moments in float32 are 16 bytes a parameter, gradients on their way 4 more."""
    load = Load("x", parameters=2.8e9, train_tokens=1.0, search_tokens=0.0, passages=0)
    assert load.gpu_bytes == 56e9 and load.fits
    assert not load._replace(parameters=3.95e9).fits
    assert load._replace(parameters=14e9, train_tokens=0.0).fits
    lines = starting.told([scale.plan(find("figure", 2), PRINTED)])
    small, large = (
        next(line for line in lines if line.startswith(f"    {name} ")) for name in ("stablelm-3b", "qwen-4b")
    )
    assert "does not fit" not in small
    assert "does not fit: 79" in large


def test_views_are_counted_as_the_method_says() -> None:
    data = Set(documents=1, passages=100, train=10, test=1, words=100)
    assert data.passage_tokens == pytest.approx(1.3 * 80 + 60)
    views = cost.views(data)
    # Half as long as the paper's passages: half as many sentences.
    assert views["memorise"] == 100 * 3 * 60
    assert views["recall"] == 100 * 1.5 * 60
    assert views["title"] == 2 * 10 * 45
    assert views["passage"] == views["content"] == pytest.approx(2 * 10 * 164)
    assert views["assess"] == pytest.approx(6 * 2 * 10 * 164)
    assert cost.views(data, indexing=False)["memorise"] == 0


def test_what_is_switched_off_is_not_paid_for() -> None:
    data = Set(1, 1, 1, test=10)
    whole = cost.search_tokens(data)
    assert whole - cost.search_tokens(data, assessment=False) == pytest.approx(10 * 50 * data.passage_tokens)
    assert cost.search_tokens(data, titles=False) == pytest.approx(10 * (60 + 10 * 12 + 10 * data.passage_tokens))


def test_a_query_of_the_papers_model_takes_about_as_long_as_printed() -> None:
    data = Set(1, 1, 1, test=1)
    seconds = 3600 * Load("x", 2.8e9, 0, cost.search_tokens(data), 0).search_h
    printed = next(row for row in PRINTED.tables[9].rows if row[:3] == ("Self-Retrieval", 30, 10))[3]
    assert isinstance(printed, float)
    assert seconds == pytest.approx(printed, rel=0.25)


def test_every_table_and_figure_but_the_sizes_can_be_redone() -> None:
    assert [made.recipe.name for made in PLANS] == [r.name for r in RECIPES if r.number != 6]
    assert scale.plan(find("table", 6), PRINTED).experiments == ()


@pytest.mark.parametrize("scaled", starting.experiments(PLANS), ids=lambda scaled: scaled.name)
def test_the_harness_takes_each_experiment(scaled: scale.Scaled) -> None:
    table: dict[str, Any] = tomllib.loads(scale.toml(scaled.table))
    assert table == scaled.table
    experiment = Experiment.from_table(table, scaled.name)
    for label, choice in experiment.systems.items():
        system = plan.resolve(choice.system)
        settings = validated(system.config, choice.settings(), scaled.name, ("systems", label))
        training = getattr(settings, "training", None)
        if system.family in ("generative", "self-retrieval") and training is not None:
            assert (training.learning_rate, training.warmup, training.weight_decay) == (2e-5, 0.03, 0.0)
            assert (training.frozen_layers, training.freeze_embeddings) == (0, False)
    labels = {load.system.partition(":")[0] for load in scaled.loads}
    assert labels == set(experiment.systems)


def test_the_paper_s_settings_of_self_retrieval_are_its_own() -> None:
    (nq, _) = scale.plan(find("table", 1), PRINTED).experiments
    table = nq.table["systems"]["self-retrieval"]
    assert sum(table["shares"].values()) == pytest.approx(1, abs=1e-3)
    system = plan.resolve("self-retrieval")
    settings: Any = validated(system.config, {k: v for k, v in table.items() if k != "system"}, "test")
    assert (settings.title_beams, settings.passage_beams, settings.tau, settings.delta) == (5, 10, 0.4, 0.4)
    assert (settings.curriculum, settings.prefix, settings.lowercase) == ("staged", "ten words", True)
    # 16 examples on each of 8 GPUs; three epochs.
    once = sum(cost.views(Set(10_000, 291_506, 32_163, 2_837)).values())
    assert settings.training.tokens == round(3 * once)
    examples = settings.training.batch_tokens / 128
    assert 60 < examples < 268
    without = nq.table["systems"]["dsi"]["training"]["tokens"]
    assert without == 3 * (291_506 * 6 * 45 + 2 * 32_163 * 40)


def test_costs_and_what_was_never_run_are_said() -> None:
    text = "\n".join(starting.told([scale.plan(find("table", 4), PRINTED)]))
    assert "Table 4, What each part is worth, at the paper's scale" in text
    assert "without-assessment" in text
    assert "GPU hours of an A100" in text and "of disk" in text
    for part in scale.NEVER_RUN:
        assert f"  - {part}" in text
    whole = cost.total([load for made in PLANS[3].experiments for load in made.loads])
    assert f"estimated in all: {whole.training_h + whole.search_h:,.0f} GPU hours" in text


def test_what_follows_a_run_is_told_and_paid_for() -> None:
    plan = scale.plan(find("table", 9), PRINTED)
    (step,) = plan.steps
    assert step.arguments == (
        *("bench", "beams", "runs/paper-passages-nq-10k"),
        *("--sizes", "10,100", "--systems", "dsi,self-retrieval"),
    )
    # Beams of 10 and 100 instead of the 5 titles of a search.
    (search,) = [load for load in plan.experiments[0].loads if load.system == "self-retrieval"]
    assert step.loads[1].search_h == pytest.approx(22 * search.search_h)
    text = "\n".join(starting.told([plan]))
    assert f"  then: harness {' '.join(step.arguments)}, {step.search_h:,.1f} GPU h" in text
    alone = cost.total(plan.experiments[0].loads)
    assert plan.total.search_h == pytest.approx(alone.search_h + step.search_h)
    assert plan.total.disk_bytes == alone.disk_bytes
    # The run that Table 1 needs too is made once.
    plans = [scale.plan(find("table", 1), PRINTED), plan]
    assert [one.name for one in starting.experiments(plans)] == list(plans[0].names)


def test_a_command_that_fails_behind_a_run_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        return type("Done", (), {"returncode": 2 if "beams" in command else 0})

    monkeypatch.setattr(starting.subprocess, "run", run)
    with pytest.raises(CellError, match="harness bench beams runs/paper-passages-nq-10k"):
        starting.start([scale.plan(find("table", 9), PRINTED)], tmp_path)


def test_files_are_written_and_the_start_is_refused_without_gpus_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [scale.plan(find("table", 2), PRINTED)]
    written = starting.write(plans, tmp_path)
    assert [path.name for path in written] == ["accelerate-8-gpus.yaml", "paper-nq320k.toml"]
    lines = written[0].read_text().splitlines()
    assert {"distributed_type: MULTI_GPU", "num_processes: 8"} <= {*lines}
    assert "mixed_precision: 'no'" in lines  # bare, YAML takes it for false
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=r"of 8 GPUs.*no data for nq320k:nq320k"):
        starting.check(plans)
    monkeypatch.setattr(launch, "missing", lambda datasets, gpus: iter(()))
    starting.check(plans)


def test_a_start_launches_every_experiment_on_all_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [scale.plan(find("table", 5), PRINTED)]
    calls: list[tuple[list[str], str]] = []
    code = 0

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        calls.append((command, env[launch.VARIABLE]))
        return type("Done", (), {"returncode": code})

    monkeypatch.setattr(starting.subprocess, "run", run)
    starting.start(plans, tmp_path)
    names = [f"paper-answers-{name}-{size}" for size in ("10k", "40k") for name in ("nq", "triviaqa")]
    assert [command[3:4] for command, _ in calls] == 4 * [["run"]] + 4 * [["answers"]]
    assert [Path(command[-1]).stem for command, _ in calls[:4]] == names
    # Every test query, not the first 100 alone.
    asked = [(f"runs/{name}", "--limit", str(n)) for name, n in zip(names, 2 * (2_837, 5_355), strict=True)]
    assert [tuple(command[4:]) for command, _ in calls[4:]] == asked
    assert {variable for _, variable in calls} == {f"accelerate launch --config_file {tmp_path}/accelerate-8-gpus.yaml"}
    code = 1
    with pytest.raises(CellError, match="exit code 1"):
        starting.start(plans, tmp_path)
