"""`harness gate` from outside: exit codes, the table, GitHub's annotations and summary, JUnit XML."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from harness import cli
from harness.gate.verdicts import Outcome, Row, Verdict, failure
from reports import gate as shown
from reports import github
from tests.unit.gate.sample import Values, write_run

GOOD: Values = {"Success@1": [1.0] * 60}
BAD: Values = {"Success@1": [1.0] * 30 + [0.0] * 30}
HOSTILE = 'a<b>&"c"|\x1b[31m\x00\n::error::pwned %0A`d`'
ENDING = re.compile(r"^gate (passed|FAILED): (\d+) OK, (\d+) WARN, (\d+) FAIL$")


@pytest.fixture(autouse=True)
def no_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may themselves run in GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "gate.json"
    run = write_run(tmp_path / "good", {"bm25": GOOD, "dense": GOOD})
    assert cli.main(["gate", str(run), "--baseline", str(file), "--update"]) == 0
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return write_run(tmp_path / "bad", {"bm25": GOOD, "dense": BAD})


@pytest.fixture
def hostile() -> Outcome:
    warned = Row(HOSTILE, "bm25", HOSTILE, Verdict.WARN, HOSTILE, 1.0, 2.0, 0.5, "ratio")
    return Outcome((failure(HOSTILE, HOSTILE, "cell", HOSTILE), warned), (HOSTILE,))


def test_one_run_is_judged_the_same_20_times(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [cli.main(["gate", str(tmp_path / "good"), "--baseline", str(baseline)]) for _ in range(20)]
    assert codes == [0] * 20
    assert capsys.readouterr().out.count("gate passed: 8 OK, 0 WARN, 0 FAIL") == 20


def test_a_drop_exits_with_1_and_says_so_last(bad: Path, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["gate", str(bad), "--baseline", str(baseline)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == list(shown.HEADINGS)
    assert out[-1] == "gate FAILED: 7 OK, 0 WARN, 1 FAIL"
    assert out[-2].startswith("FAIL animals dense Success@1: dropped by 0.5000, more than 0.01; p = ")
    (row,) = [line for line in out if line.startswith("FAIL") and "0.5000  " in line]
    assert row.split()[:6] == ["FAIL", "animals", "dense", "Success@1", "1.0000", "0.5000"]


def test_update_tells_of_too_few_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for queries, told in ((4, True), (60, False)):
        run = write_run(tmp_path / str(queries), {"bm25": {"Success@1": [1.0] * queries}})
        assert cli.main(["gate", str(run), "--baseline", str(tmp_path / f"{queries}.json"), "--update"]) == 0
        assert ("note: 4 queries are too few" in capsys.readouterr().out) is told


def test_options_change_thresholds_for_one_call(bad: Path, baseline: Path) -> None:
    call = ["gate", str(bad), "--baseline", str(baseline)]
    assert cli.main([*call, "--min-drop", "0.6"]) == 0
    assert cli.main([*call, "--alpha", "1e-4"]) == 1
    assert cli.main([*call, "--set", "min_drop=0.6"]) == 0
    assert cli.main([*call, "--set", "min_drop=0.6", "--min-drop", "0.1"]) == 1
    assert cli.main(call) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--min-drop", "-1"], "min_drop"),
        (["--alpha", "2"], "alpha"),
        (["--alpha", "0"], "alpha"),
        (["--set", "memory=never"], "memory"),
        (["--set", "memory_facto=2"], "write memory_factor"),
        (["--set", "memory"], "dotted.key=value"),
        (["--set", "a.b=1"], "memory_factor=2"),
        (["--baseline", "elsewhere.json"], "--update"),
    ],
)
def test_bad_input_exits_with_2(
    bad: Path, baseline: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["gate", str(bad), "--baseline", str(baseline), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_no_run_exits_with_2(tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gate", str(tmp_path / "none"), "--baseline", str(baseline)]) == 2
    assert "a run folder" in capsys.readouterr().err


def test_github_gets_annotations_and_a_summary(
    bad: Path, baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    capsys.readouterr()
    cli.main(["gate", str(bad), "--baseline", str(baseline)])
    assert "::error" not in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    cli.main(["gate", str(bad), "--baseline", str(baseline)])
    (error,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert error.startswith("::error title=gate FAIL::animals dense Success@1: dropped by 0.5000")
    text = summary.read_text()
    assert text.startswith("before\n## Retrieval gate failed\n\n7 OK, 0 WARN, 1 FAIL\n\n| verdict |")
    assert text.count("| OK | animals |") == 7
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert cli.main(["gate", str(bad), "--baseline", str(baseline)]) == 2


def test_a_workflow_command_is_escaped() -> None:
    written = github.command("error", "a, b: c", "50%: d, e\r\n::error::x")
    assert written == "::error title=a%2C b%3A c::50%25: d, e%0D%0A::error::x"


def test_only_so_many_annotations_and_the_last_counts_the_others() -> None:
    rows = [failure("d", f"s{i}", "cell", "gone") for i in range(13)]
    lines = list(github.marked(rows))
    assert len(lines) == 10
    assert lines[-1] == "::error title=gate FAIL::4 more are in the table of the step summary"
    assert len(list(github.marked(rows[:10]))) == 10
    assert not list(github.marked([]))


def test_a_summary_too_long_for_github_is_shortened() -> None:
    ok = [Row("d" * 100, "s", f"m{i}", Verdict.OK, "the same") for i in range(8_000)]
    few = Outcome((*ok, failure("d", "s", "cell", "gone")), ())
    assert "| FAIL | d | s | cell |" in github.markdown(few)
    assert len(github.markdown(few)) < 1_000
    many = Outcome(tuple(failure("d" * 100, "s", f"m{i}", "gone") for i in range(8_000)), ())
    assert github.markdown(many) == "## Retrieval gate failed\n\n0 OK, 0 WARN, 8000 FAIL\n"


def test_hostile_names_stay_inside_their_line(hostile: Outcome) -> None:
    printed = [*shown.plain(hostile), *shown.closing(hostile)]
    assert len(printed) == 3 + 4
    assert not [line for line in printed if line.startswith("::") or not line.isprintable()]
    lines = [*github.marked(list(hostile.rows[:1])), *github.marked(list(hostile.rows[1:]))]
    assert not [line for line in lines if "\n" in line or "%250A" not in line]
    summary = github.markdown(hostile)
    assert "<b>" not in summary
    assert "\x1b" not in summary
    assert not [line for line in summary.splitlines() if line.startswith("::")]
    table = [line for line in summary.splitlines() if line.startswith("| FAIL")]
    assert len(re.split(r"(?<!\\)\|", table[0])) == len(shown.HEADINGS) + 2


def test_junit_is_well_formed_and_says_what_failed(bad: Path, baseline: Path, tmp_path: Path, hostile: Outcome) -> None:
    path = tmp_path / "out" / "gate.xml"
    assert cli.main(["gate", str(bad), "--baseline", str(baseline), "--junit", str(path)]) == 1
    (suite,) = ElementTree.parse(path).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("8", "1")
    (case,) = [case for case in suite if case.find("failure") is not None]
    assert (case.get("classname"), case.get("name")) == ("animals.dense", "Success@1")
    message = case.find("failure").get("message")  # type: ignore[union-attr]
    assert message is not None
    assert message.startswith("dropped by 0.5000")
    first, second, notes = ElementTree.fromstring(shown.junit(hostile))[0]
    visible = HOSTILE.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
    assert first.get("classname") == f"{visible}.{visible}"
    assert first.find("failure").get("message") == visible  # type: ignore[union-attr]
    assert (second.findtext("system-out") or "").startswith("WARN ")
    assert notes.text == visible


def test_a_terminal_gets_a_table(hostile: Outcome) -> None:
    console = Console(width=200, record=True, force_terminal=True, file=io.StringIO())
    console.print(shown.rich(hostile))
    text = console.export_text()
    assert "verdict" in text
    assert "FAIL" in text
    assert "\x1b" not in text
