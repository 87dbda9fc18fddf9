"""What the pages say can be typed can be typed, and what they say of experiments and systems is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli
from harness.experiment import Experiment, load
from harness.plan import resolve
from harness.store import RunFolder

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPERIMENTS = ROOT / "docs" / "EXPERIMENTS.md"


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield page and words of each command of ours in a block for a shell, or between signs of code."""
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        lines += re.findall(r"`((?:[A-Z_]+=[^ `]+ )?harness [^`]+)`", page.read_text(encoding="utf-8"))
        for line in lines:
            text = re.sub(r"^(?:[A-Z_]+=(?:\"[^\"]*\"|\S+) )*(?:\.venv/bin/)?", "", line.strip())
            if text.startswith("harness ") and "…" not in text and "|" not in text.partition("#")[0]:
                yield page.name, shlex.split(text, comments=True)[1:]


def test_every_command_and_option_exists() -> None:
    missing, seen = [], 0
    for page, words in commands():
        command: Any = typer.main.get_command(cli.app)
        at = 0
        while at < len(words) and words[at] in getattr(command, "commands", {}):
            command, at = command.commands[words[at]], at + 1
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        wrong = [
            word for word in words[at:] if word.startswith("--") and word.partition("=")[0] not in {*known, "--help"}
        ]
        if (at == 0 and words[:1] != ["--help"]) or wrong:
            missing.append((page, " ".join(words), wrong))
        seen += 1
    assert missing == [] and seen > 100


def test_every_key_of_an_experiment_is_described() -> None:
    text = EXPERIMENTS.read_text(encoding="utf-8")
    said = set(re.findall(r"`([a-z_]+)(?:\.[A-Za-z_.]+)?`", text.partition("## On the command line")[0]))
    assert set(Experiment.model_fields) <= said


def test_the_system_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(EXPERIMENTS, "python")
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    toml = 'name = "own"\nlatency.queries = 2\n[datasets."vital-articles/500"]\n[systems.mine]\n'
    (tmp_path / "own.toml").write_text(toml + 'system = "mypackage.mine:SYSTEM"\nlongest = 2\n', encoding="utf-8")
    assert cli.main(["run", "own.toml", "--limit", "20", "--no-report"]) == 0
    found = RunFolder(tmp_path / "runs" / "own").results()
    assert max(row["value"] for row in found if (row["slice"], row["measure"]) == ("all", "R@100")) > 0
    assert resolve("mypackage.mine:SYSTEM").family == "sparse"


def test_the_experiment_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(blocks(EXPERIMENTS, "toml")[0], encoding="utf-8")
    assert load(str(tmp_path / "mine.toml")).systems["dsi-naive"].settings()["docid"] == "naive"
