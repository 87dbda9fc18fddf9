"""Pytest plugin: run an experiment once a session, assert that nothing regressed, time the search of each system.

    def test_quality(retrieval_run, assert_no_regression):
        assert_no_regression(retrieval_run, "tests/baseline.json", min_drop=0.02)

    def test_search_speed(search_benchmark):        # once a system, grouped by dataset; needs pytest-benchmark
        search_benchmark(k=10)

Which run: `@pytest.mark.retrieval(experiment="smoke")`, else `--retrieval-run` or `--retrieval-experiment`, else the
settings of the same names in pytest's configuration (retrieval_run, retrieval_experiment). Nothing but pytest is
imported until a test asks for one of the fixtures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from harness.experiment import Experiment
    from harness.gate.verdicts import Outcome
    from harness.retriever import Retriever
    from harness.types import Split

MARKER = "retrieval"
WARMUP = 3
"""Other queries that are searched before any is timed."""
_HELP = {"run": "folder of a run that is over", "experiment": "a shipped experiment or a TOML file, run once a session"}


class SystemOfRun(NamedTuple):
    """One system on one dataset: the dataset's place in the run, and the system's label."""

    place: int
    system: str


class Loaded(NamedTuple):
    """A system that is ready to search, and the queries of its run."""

    dataset: str
    system: str
    retriever: Retriever
    split: Split


class Assertion(Protocol):
    """What the fixture `assert_no_regression` gives."""

    def __call__(self, run: Path, baseline: Path | str, **thresholds: Any) -> Outcome:
        """Compare a run with a baseline; see `assert_no_regression`."""


_runs = pytest.StashKey[dict[str, Path]]()
_warned = pytest.StashKey[list[str]]()


def assert_no_regression(run: Path, baseline: Path | str, **thresholds: Any) -> Outcome:
    """Fail, listing what became worse, unless the run in folder `run` passes the gate of `baseline`.

    Args:
        run: a run folder, such as the fixture `retrieval_run`.
        baseline: the JSON file of `harness gate RUN --baseline FILE --update`.
        thresholds: count instead of the baseline's, e.g. min_drop=0.02; docs/GATE.md lists them.

    Returns:
        Every verdict, warnings among them.

    Raises:
        AssertionError: a verdict is FAIL.
        HarnessError: there is no run or no baseline, or a threshold cannot be used.
    """
    __tracebackhide__ = True
    from harness.gate import judge
    from harness.gate.verdicts import Verdict, sentence

    outcome = judge.gate(Path(run), Path(baseline), thresholds)
    if not outcome.passed:
        failed = "\n".join(f"  {sentence(row)}" for row in outcome.having(Verdict.FAIL))
        raise AssertionError(f"worse than {baseline}: {outcome.count()}\n{failed}")
    return outcome


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer --retrieval-run and --retrieval-experiment, and settings of these names."""
    group = parser.getgroup(MARKER, "retrieval quality and speed")
    for name, text in _HELP.items():
        group.addoption(f"--retrieval-{name}", metavar=name.upper(), help=text)
        parser.addini(f"retrieval_{name}", text)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and begin with no run."""
    text = "retrieval(experiment=NAME, run=DIR, datasets=[...], systems=[...], sets=[...], seed=N, limit=N)"
    config.addinivalue_line("markers", f"{text}: which run the fixture retrieval_run opens or makes")
    config.stash[_runs] = {}
    config.stash[_warned] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a test that uses `search_benchmark` for each system of its run."""
    if "retrieval_system" in metafunc.fixturenames:
        found = _systems(_wanted(metafunc.config, metafunc.definition))
        metafunc.parametrize("retrieval_system", list(found.values()), ids=list(found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the warnings and notes of gates that passed; a test that passes would hide them."""
    warned = config.stash[_warned]
    if warned:
        terminalreporter.section("retrieval gate: warnings")
        terminalreporter.write_line("\n".join(warned))


@pytest.fixture
def retrieval_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run a test asks for; an experiment is run once a session, whoever asks for it."""
    wanted = _wanted(request.config, request.node)
    if "run" in wanted:
        return Path(wanted["run"])
    key, runs = json.dumps(wanted, sort_keys=True), request.config.stash[_runs]
    if key not in runs:
        from harness import runner
        from harness.display import PlainDisplay
        from harness.terminal import say

        folder = tmp_path_factory.mktemp("retrieval") / "run"
        # pytest keeps what is printed, and shows it where the test fails.
        with PlainDisplay(say) as observer:
            runner.run(_experiment(wanted), folder, observer, command=("pytest",))
        runs[key] = folder
    return runs[key]


@pytest.fixture(name="assert_no_regression")
def _assert_no_regression(request: pytest.FixtureRequest) -> Assertion:
    """Give the function of this name; warnings and notes of gates that pass are shown at the end of the session."""

    def compare(run: Path, baseline: Path | str, **thresholds: Any) -> Outcome:
        __tracebackhide__ = True
        from harness.gate.verdicts import Verdict, sentence

        outcome = assert_no_regression(run, request.config.rootpath / baseline, **thresholds)
        told = [*map(sentence, outcome.having(Verdict.WARN)), *outcome.notes]
        request.config.stash[_warned].extend(f"{request.node.nodeid}: {text}" for text in told)
        return outcome

    return compare


@pytest.fixture
def retrieval_loaded(retrieval_run: Path, retrieval_system: SystemOfRun) -> Loaded:
    """One system of a run, ready to search; the test is skipped, with the reason, where there is none to load."""
    return _load(retrieval_run, retrieval_system)


@pytest.fixture
def search_benchmark(retrieval_loaded: Loaded, benchmark: Any) -> Callable[..., None]:
    """Give a function that times the search of one system with pytest-benchmark: one query a round."""

    def measure(k: int = 10, queries: int = 50) -> None:
        from harness.cell import chosen_alone

        dataset, system, retriever, split = retrieval_loaded
        texts, before = chosen_alone(split, queries, WARMUP)
        for text in before:
            retriever.search([text], k)
        benchmark.group = dataset
        benchmark.extra_info.update(dataset=dataset, system=system, k=k)
        left = iter(texts)
        # Each round asks another query: one query over and over would be answered from caches.
        benchmark.pedantic(
            lambda text: retriever.search([text], k), setup=lambda: ((next(left),), {}), rounds=len(texts)
        )

    return measure


def _wanted(config: pytest.Config, node: pytest.Item | Any) -> Mapping[str, Any]:
    """Say which run a test asks for: {"run": folder} or {"experiment": name, ...}."""
    marker = node.get_closest_marker(MARKER)
    if marker is not None:
        if marker.args or len(marker.kwargs.keys() & _HELP.keys()) != 1:
            raise pytest.UsageError(f"@pytest.mark.{MARKER} takes either experiment=NAME or run=DIR")
        return _rooted(marker.kwargs, config.rootpath)
    for look in (config.getoption, config.getini):
        for name in _HELP:
            if value := look(f"retrieval_{name}"):
                return _rooted({name: value}, config.rootpath)
    raise pytest.UsageError(f"name a run: @pytest.mark.{MARKER}(experiment=NAME), or --retrieval-run DIR")


def _rooted(wanted: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Let paths begin at pytest's root folder, wherever pytest was started; a shipped experiment's name stays."""
    paths = {name: str(root / wanted[name]) for name in _HELP if str(wanted.get(name, "")).endswith(".toml")}
    paths |= {"run": str(root / wanted["run"])} if "run" in wanted else {}
    return {**wanted, **paths}


def _experiment(wanted: Mapping[str, Any]) -> Experiment:
    from harness import experiment

    changes = {name: value for name, value in wanted.items() if name != "experiment"}
    return experiment.load(wanted["experiment"]).with_overrides(**changes)


def _systems(wanted: Mapping[str, Any]) -> dict[str, SystemOfRun]:
    """List the systems of a run by what a test of one is called, without running it."""
    if "run" in wanted:
        from harness.store import RunFolder

        cells = RunFolder(Path(wanted["run"])).cells()
        datasets = list(dict.fromkeys(cell.dataset for cell in cells))
        labels = list(dict.fromkeys(cell.system for cell in cells if not cell.outside))
    else:
        chosen = _experiment(wanted)
        datasets, labels = list(chosen.datasets), list(chosen.systems)
    return {f"{dataset}-{label}": SystemOfRun(n, label) for n, dataset in enumerate(datasets) for label in labels}


def _load(folder: Path, wanted: SystemOfRun) -> Loaded:
    from harness import finished
    from harness.datasets import stored
    from harness.store import RunFolder

    run = RunFolder(folder)
    dataset = finished.datasets(run)[wanted.place]
    (cell,) = finished.pick(run, [wanted.system], dataset)
    if problem := finished.problem(run, cell):
        pytest.skip(f"{wanted.system} on {dataset} {problem}")
    split = stored.open_folder(run.data_folder(dataset)).split(run.experiment()["split"])
    return Loaded(dataset, wanted.system, finished.load(run, cell), split)
