"""A whole run against a baseline: what is missing, what it costs, and what passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, RunFolderError
from harness.gate import judge, updating
from harness.gate.verdicts import Outcome, Row, Verdict
from harness.records import Meter
from tests.unit.gate.sample import DATASET, Values, meter, write_run

VALUES: Values = {"Success@1": [1.0] * 30 + [0.0] * 10, "RR@5": [1.0] * 30 + [0.5, 1 / 3] * 5}
SYSTEMS = {"bm25": VALUES, "dense": VALUES, "oracle": VALUES}
METERS = {
    "bm25": meter(0.25, memory=100, index=1_000),
    "dense": meter(10.0, memory=400, index=2_000, parameters=90_000),
    "oracle": meter(0.001),
}


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "baseline.json"
    updating.update(write_run(tmp_path / "first", SYSTEMS, meters=METERS), file)
    return file


def gated(tmp_path: Path, baseline: Path, *, changes: Mapping[str, Any] | None = None, **run: Any) -> Outcome:
    written = write_run(tmp_path / "second", run.pop("systems", SYSTEMS), **{"meters": METERS, **run})
    return judge.gate(written, baseline, changes)


def failed(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(row.system, row.what, row.reason) for row in outcome.having(Verdict.FAIL)]


def row_of(outcome: Outcome, system: str, what: str) -> Row:
    (row,) = [row for row in outcome.rows if (row.system, row.what) == (system, what)]
    return row


def with_costs(**changed: Meter) -> dict[str, Meter]:
    return {**METERS, **changed}


def test_an_identical_run_is_ok_everywhere(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline)
    assert outcome.passed
    assert {row.verdict for row in outcome.rows} == {Verdict.OK}
    assert {(row.system, row.what) for row in outcome.rows} == {
        *((system, measure) for system in SYSTEMS for measure in VALUES),
        *((system, size) for system in ("bm25", "dense") for size in ("index", "parameters")),
        ("dense", "latency"),
        ("dense", "memory"),
    }
    assert outcome.notes == ()


def test_a_machine_three_times_slower_is_ok(tmp_path: Path, baseline: Path) -> None:
    slower = {
        name: meter(3 * costs["latency_ms"]["p50"], costs["rss_peak_bytes"]["search"]) for name, costs in METERS.items()
    }
    outcome = gated(tmp_path, baseline, meters=slower, changes={"latency": "fail", "size": "off"})
    assert row_of(outcome, "dense", "latency").verdict is Verdict.OK
    assert row_of(outcome, "dense", "latency").now == 40
    assert outcome.passed


@pytest.mark.parametrize(("level", "verdict"), [("warn", Verdict.WARN), ("fail", Verdict.FAIL)])
def test_a_system_three_times_slower_than_its_reference_stands_out(
    tmp_path: Path, baseline: Path, level: str, verdict: Verdict
) -> None:
    meters = with_costs(dense=meter(30.0, 400, 2_000, 90_000))
    outcome = gated(tmp_path, baseline, meters=meters, changes={"latency": level})
    row = row_of(outcome, "dense", "latency")
    assert (row.verdict, row.before, row.now) == (verdict, 40, 120)
    assert row.reason == "3.00 times the baseline's; 2 times is let through"


def test_a_threshold_can_be_off(tmp_path: Path, baseline: Path) -> None:
    meters = with_costs(dense=meter(30.0, 4_000, 2_000, 90_000))
    outcome = gated(tmp_path, baseline, meters=meters, changes={"latency": "off", "memory": "off"})
    assert outcome.passed
    assert not {"latency", "memory"} & {row.what for row in outcome.rows}


def test_memory_is_compared_as_a_ratio(tmp_path: Path, baseline: Path) -> None:
    twice = with_costs(bm25=meter(0.25, 200), dense=meter(10.0, 800, 2_000, 90_000))
    assert row_of(gated(tmp_path, baseline, meters=twice), "dense", "memory").verdict is Verdict.OK
    dense_alone = with_costs(dense=meter(10.0, 800, 2_000, 90_000))
    assert row_of(gated(tmp_path, baseline, meters=dense_alone), "dense", "memory").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("index", "verdict"), [(1_100, Verdict.OK), (1_101, Verdict.FAIL), (910, Verdict.OK), (500, Verdict.WARN)]
)
def test_sizes_are_compared_as_they_are(tmp_path: Path, baseline: Path, index: int, verdict: Verdict) -> None:
    outcome = gated(tmp_path, baseline, meters=with_costs(bm25=meter(0.25, 100, index)))
    assert row_of(outcome, "bm25", "index").verdict is verdict


def test_growth_from_nothing_fails_in_words(tmp_path: Path, baseline: Path) -> None:
    row = row_of(gated(tmp_path, baseline, meters=with_costs(bm25=meter(0.25, 100, 1_000, 7))), "bm25", "parameters")
    assert row.verdict is Verdict.FAIL
    assert row.reason == "7, after 0: more than the baseline's; 1.1 times is let through"


def test_a_cost_that_was_not_measured_warns(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, meters=with_costs(bm25={"index_bytes": 1_000}))
    warned = {(row.system, row.what) for row in outcome.having(Verdict.WARN)}
    assert warned == {("bm25", "parameters"), ("dense", "latency"), ("dense", "memory")}
    assert outcome.passed


def test_another_reference_can_be_asked_for(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, changes={"reference": "dense"})
    row = row_of(outcome, "bm25", "latency")
    assert (row.verdict, row.now) == (Verdict.OK, 0.025)
    assert row.before == pytest.approx(0.025)
    assert not [row for row in outcome.rows if (row.system, row.what) == ("dense", "latency")]
    with pytest.raises(ConfigError, match="'dens'"):
        gated(tmp_path, baseline, changes={"reference": "dens"})


def test_changed_data_fails_once_and_is_not_compared(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, checksum="decaf" * 12)
    (only,) = outcome.rows
    assert (only.dataset, only.what, only.verdict) == (DATASET, "checksum", Verdict.FAIL)
    assert only.reason.startswith("changed: decafdecafde, in the baseline c0ffeec0ffee")


def test_a_missing_dataset_fails(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, dataset="plants")
    assert failed(outcome) == [("", "dataset", "is not in the run")]
    assert outcome.notes == (
        "not in the baseline: bm25 on plants, dense on plants, oracle on plants; --update takes them in",
    )


def test_a_missing_cell_fails(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, systems={"bm25": VALUES, "oracle": VALUES})
    assert failed(outcome) == [("dense", "cell", "is not in the run")]


def test_a_failed_cell_fails_with_its_reason(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, failed={"dense": "out of memory"})
    assert failed(outcome) == [("dense", "cell", "failed during index: out of memory")]


def test_a_cell_that_never_ended_or_is_of_other_settings_fails(tmp_path: Path, baseline: Path) -> None:
    run = write_run(tmp_path / "run", SYSTEMS, meters=METERS)
    status = run / DATASET / "dense" / "0" / "status.json"
    status.write_text(status.read_text().replace("dense-settings", "old"))
    (run / DATASET / "bm25" / "0" / "status.json").unlink()
    assert failed(judge.gate(run, baseline)) == [
        ("bm25", "cell", "never finished"),
        ("dense", "cell", "has only the result of other settings"),
    ]


def test_missing_queries_and_measures_fail(tmp_path: Path, baseline: Path) -> None:
    fewer = {measure: column[:-3] for measure, column in VALUES.items()}
    outcome = gated(tmp_path, baseline, systems={**SYSTEMS, "bm25": fewer, "dense": {"RR@5": VALUES["RR@5"]}})
    assert failed(outcome) == [
        ("bm25", "queries", "3 of 40 are missing"),
        ("dense", "Success@1", "was not measured"),
    ]
    assert row_of(outcome, "dense", "RR@5").verdict is Verdict.OK


@pytest.mark.parametrize(("key", "value"), [("depth", 50), ("split", "dev")])
def test_another_depth_or_split_fails_and_nothing_else_is_compared(
    tmp_path: Path, baseline: Path, key: str, value: Any
) -> None:
    (only,) = gated(tmp_path, baseline, **{key: value}).rows
    assert (only.what, only.verdict) == (key, Verdict.FAIL)
    assert only.reason.startswith(f"is {value}, in the baseline ")


def test_what_is_new_is_noted(tmp_path: Path, baseline: Path) -> None:
    more = {**SYSTEMS, "dense": {**VALUES, "R@100": VALUES["RR@5"]}, "dsi": VALUES}
    outcome = gated(tmp_path, baseline, systems=more)
    assert outcome.passed
    assert outcome.notes == (
        "not in the baseline: dsi on animals; --update takes them in",
        "measures that are not in the baseline: R@100",
    )


def test_changed_settings_are_noted(tmp_path: Path, baseline: Path) -> None:
    text = baseline.read_text()
    baseline.write_text(
        text.replace("bm25-settings", "other").replace('"harness_version": "0.1.0"', '"harness_version": "0.0.9"')
    )
    assert gated(tmp_path, baseline).notes == (
        "settings differ from the baseline's (harness 0.0.9 and 0.1.0): bm25 on animals",
    )


def test_cells_of_other_sources_are_noted(tmp_path: Path, baseline: Path) -> None:
    outcome = gated(tmp_path, baseline, code="c0de")
    assert outcome.passed
    (note,) = outcome.notes
    assert note.startswith("made by other sources than those here, run again with --fresh")
    assert note.endswith(": bm25 on animals, dense on animals, oracle on animals")


def test_a_total_loss_on_three_queries_fails_and_their_number_is_noted(tmp_path: Path) -> None:
    file, found = tmp_path / "baseline.json", {"bm25": {"RR@5": [1.0, 0.5, 0.0], "Success@1": [1.0, 0.0, 0.0]}}
    updating.update(write_run(tmp_path / "first", found), file)
    lost = {"bm25": {measure: [0.0] * 3 for measure in found["bm25"]}}
    outcome = judge.gate(write_run(tmp_path / "second", lost), file)
    assert {row.verdict for row in outcome.rows if row.unit == "score"} == {Verdict.FAIL}
    assert outcome.notes == (
        "3 queries are too few to test 2 comparisons at alpha = 0.05: only a drop on every query fails; 6 would do",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("meter.json", '{"latency_ms": 3}'),
        ("meter.json", '{"rss_peak_bytes": []}'),
        ("status.json", '{"format": 1, "state": "done"}'),
    ],
)
def test_damaged_files_of_a_cell_are_refused(tmp_path: Path, baseline: Path, name: str, text: str) -> None:
    run = write_run(tmp_path / "run", SYSTEMS, meters=METERS)
    (run / DATASET / "bm25" / "0" / name).write_text(text)
    with pytest.raises(RunFolderError):
        judge.gate(run, baseline)


def test_seeds_are_averaged_query_by_query(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    first = write_run(tmp_path / "first", {"bm25": VALUES}, seeds=(0, 1))
    kept = updating.update(first, file)
    assert kept.figures.datasets[DATASET].systems["bm25"].fingerprints.keys() == {0, 1}
    assert judge.gate(first, file).passed
    # One of two seeds finds nothing: the mean of each query is half of what it was.
    second = write_run(tmp_path / "second", {"bm25": VALUES}, seeds=(0, 1))
    place = second / DATASET / "bm25" / "1"
    nothing = write_run(tmp_path / "third", {"bm25": {m: [0.0] * 40 for m in VALUES}}) / DATASET / "bm25" / "0"
    (place / "per_query.parquet").write_bytes((nothing / "per_query.parquet").read_bytes())
    row = row_of(judge.gate(second, file), "bm25", "Success@1")
    assert (row.before, row.now, row.verdict) == (0.75, 0.375, Verdict.FAIL)
    alone = write_run(tmp_path / "fourth", {"bm25": VALUES})
    assert failed(judge.gate(alone, file)) == [("bm25", "cell", "seed 1 is not in the run")]


def test_seeds_the_baseline_lacks_do_not_hide_a_drop(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    updating.update(write_run(tmp_path / "first", {"bm25": VALUES}), file)
    run = write_run(tmp_path / "second", {"bm25": VALUES}, seeds=(0, 1, 2))
    nothing = write_run(tmp_path / "third", {"bm25": {m: [0.0] * 40 for m in VALUES}}) / DATASET / "bm25" / "0"
    (run / DATASET / "bm25" / "0" / "per_query.parquet").write_bytes((nothing / "per_query.parquet").read_bytes())
    row = row_of(judge.gate(run, file), "bm25", "Success@1")
    assert (row.now, row.verdict) == (0.0, Verdict.FAIL)


def test_a_run_that_is_not_whole_makes_no_baseline(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SYSTEMS, failed={"dense": "boom"}, seeds=(0, 1))
    with pytest.raises(RunFolderError, match="dense on animals: seed 1 failed during index: boom"):
        updating.update(run, tmp_path / "baseline.json")
    odd = write_run(tmp_path / "odd", {"bm25": {"RR@5": [float("nan")]}})
    with pytest.raises(RunFolderError, match="RR@5 is not a finite number"):
        updating.update(odd, tmp_path / "baseline.json")
    assert not (tmp_path / "baseline.json").exists()


def test_the_reference_is_bm25_or_the_first_that_was_timed(tmp_path: Path) -> None:
    def reference(systems: list[str], **changes: Any) -> str | None:
        run = write_run(tmp_path / "-".join(systems), dict.fromkeys(systems, VALUES), meters=METERS)
        return updating.update(run, tmp_path / f"{'-'.join(systems)}.json", changes).figures.thresholds.reference

    assert reference(["dense", "bm25"]) == "bm25"
    assert reference(["oracle", "dense"]) == "dense"
    assert reference(["oracle"]) is None
    with pytest.raises(ConfigError, match="'bm52'"):
        reference(["dense", "dsi"], reference="bm52")
