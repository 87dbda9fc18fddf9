"""The pytest plugin, as a project that uses it sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy.fft  # noqa: F401 - a session within this one forgets what it imported, and NumPy cannot be loaded twice
import pytest

from harness import runner
from harness.errors import DataError
from harness.gate import updating
from harness.pytest_plugin import assert_no_regression
from tests.unit.gate.sample import write_run

ANIMALS = {
    "d1": "otters sleep in rivers",
    "d2": "badgers dig setts",
    "d3": "herons stand still",
    "d4": "bats hear moths",
}
EXPERIMENT = """
name = "tiny"
[datasets."beir:animals"]
[systems.bm25]
[systems.oracle]
"""
GOOD, BAD = {"RR@5": [1.0] * 60}, {"RR@5": [0.5] * 60}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with four animals, an experiment, and no plugin but ours and pytest-benchmark."""
    data = pytester.path / "animals"
    (data / "qrels").mkdir(parents=True)
    rows = [{"_id": docid, "title": "", "text": text} for docid, text in ANIMALS.items()]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = [{"_id": f"q{docid}", "text": text.split()[-1]} for docid, text in ANIMALS.items()]
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = "".join(f"q{docid}\t{docid}\t1\n" for docid in ANIMALS)
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    (pytester.path / "tiny.toml").write_text(EXPERIMENT)
    return pytester


@pytest.fixture
def runs(pytester: pytest.Pytester) -> Path:
    """A good run, its baseline, and a bad run."""
    updating.update(write_run(pytester.path / "good", {"bm25": GOOD}), pytester.path / "gate.json")
    write_run(pytester.path / "bad", {"bm25": BAD})
    return pytester.path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the experiments that were run, in this process."""
    ran: list[str] = []
    run = runner.run

    def counting(experiment: object, *rest: object, **more: object) -> object:
        ran.append(experiment.name)  # type: ignore[attr-defined]
        return run(experiment, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run", counting)
    return iter([ran])


def test_an_experiment_is_run_once_a_session(project: pytest.Pytester, counted: Iterator[list[str]]) -> None:
    project.makepyfile(
        """
        import pytest
        from harness.store import RunFolder

        @pytest.mark.retrieval(experiment="tiny.toml")
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_found(retrieval_run, n):
            assert [cell.system for cell in RunFolder(retrieval_run).cells()] == ["bm25", "oracle"]

        @pytest.mark.retrieval(experiment="tiny.toml", systems=["bm25"])
        def test_one(retrieval_run):
            rows = RunFolder(retrieval_run).results()
            assert [row["value"] for row in rows if row["measure"] == "RR@5"] == [1.0]
        """
    )
    project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=4)
    assert next(counted) == ["tiny", "tiny"]


def test_a_regression_fails_with_the_rows_that_failed(pytester: pytest.Pytester, runs: Path) -> None:
    pytester.makepyfile(
        """
        def test_same(retrieval_run, assert_no_regression):
            assert assert_no_regression(retrieval_run, "gate.json").passed
        """
    )
    pytester.runpytest_inprocess("--retrieval-run", "good").assert_outcomes(passed=1)
    result = pytester.runpytest_inprocess("--retrieval-run", "bad")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: worse than *gate.json: 2 OK, 0 WARN, 1 FAIL",
            "*animals bm25 RR@5: dropped by 0.5000, more *",
        ]
    )
    result.stdout.no_fnmatch_line("*judge.gate*")


def test_thresholds_count_and_warnings_are_shown(pytester: pytest.Pytester, runs: Path) -> None:
    pytester.makeini("[pytest]\nretrieval_run = bad\n")
    pytester.makepyfile(
        """
        def test_same(retrieval_run, assert_no_regression):
            assert_no_regression(retrieval_run, "gate.json", min_drop=0.6)
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*retrieval gate: warnings*", "*test_same: animals bm25 RR@5: dropped by 0.5000*"])


def test_notes_are_shown(pytester: pytest.Pytester, runs: Path) -> None:
    write_run(runs / "older", {"bm25": GOOD}, code="c0de")
    pytester.makepyfile(
        """
        def test_same(retrieval_run, assert_no_regression):
            assert_no_regression(retrieval_run, "gate.json")
        """
    )
    result = pytester.runpytest_inprocess("--retrieval-run=older")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_same: made by other sources than those here*bm25 on animals"])


def test_search_is_timed_once_a_system_and_grouped_by_dataset(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.retrieval(experiment="tiny.toml")
        def test_speed(search_benchmark):
            search_benchmark(k=2, queries=3)
        """
    )
    result = project.runpytest_inprocess("--benchmark-json=times.json", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_speed?beir:animals-bm25? PASSED*", "*test_speed?beir:animals-oracle? PASSED*"])
    times = json.loads((project.path / "times.json").read_text())["benchmarks"]
    assert [(row["group"], row["extra_info"]["system"]) for row in times] == [
        ("animals", "bm25"),
        ("animals", "oracle"),
    ]
    assert [row["stats"]["rounds"] for row in times] == [3, 3]


def test_what_warms_a_system_up_is_not_timed(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.retrieval(experiment="tiny.toml", systems=["bm25"])
        def test_speed(search_benchmark, retrieval_loaded, monkeypatch):
            asked, search = [], retrieval_loaded.retriever.search

            def listening(queries, k):
                asked.extend(queries)
                return search(queries, k)

            monkeypatch.setattr(retrieval_loaded.retriever, "search", listening)
            search_benchmark(k=2, queries=1)
            assert (len(asked), len(set(asked[:-1]))) == (4, 3)
            assert asked[-1] not in asked[:-1]
        """
    )
    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_system_that_failed_is_skipped_with_its_reason(pytester: pytest.Pytester) -> None:
    write_run(pytester.path / "run", {"bm25": GOOD}, failed={"bm25": "out of memory"})
    pytester.makepyfile("def test_speed(search_benchmark):\n    search_benchmark()\n")
    result = pytester.runpytest_inprocess("--retrieval-run=run", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*bm25 on animals failed: out of memory*"])


@pytest.mark.parametrize(
    "marker", ["", "@pytest.mark.retrieval", "@pytest.mark.retrieval(experiment='smoke', run='runs/smoke')"]
)
def test_a_test_that_names_no_run_is_told_how(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makepyfile(f"import pytest\n{marker}\ndef test_it(retrieval_run):\n    pass\n")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*retrieval*experiment=NAME*"])


def test_the_function_alone_needs_no_pytest_session(pytester: pytest.Pytester, runs: Path) -> None:
    assert assert_no_regression(runs / "good", runs / "gate.json").passed
    with pytest.raises(AssertionError, match="animals bm25 RR@5"):
        assert_no_regression(runs / "bad", runs / "gate.json")
    with pytest.raises(DataError):
        assert_no_regression(runs / "bad", runs / "none.json")


def test_loading_the_plugin_loads_nothing_heavy() -> None:
    code = "import sys, harness.pytest_plugin\nprint(*sorted(m for m in sys.modules if m.startswith('harness')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["harness", "harness.pytest_plugin"]
