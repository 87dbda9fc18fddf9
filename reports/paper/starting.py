"""The recipe at the paper's scale: say its cost, write its files, check the machine, start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness import launch
from harness.atomic import write_text
from harness.errors import CellError, ConfigError
from reports import units
from reports.paper import scale
from reports.paper.scale import ACCELERATE, NEVER_RUN, Plan, Scaled
from reports.paper.steps import Step
from reports.paper.systems import GPUS


def told(plans: Sequence[Plan]) -> list[str]:
    """Say in lines what these plans cost, and what of them was never run here."""
    lines = []
    for plan in plans:
        lines.append(f"{plan.recipe.name}, {plan.recipe.title}, at the paper's scale")
        for experiment in plan.experiments:
            lines += [f"  {experiment.name}: {experiment.counts}", *_costs(experiment)]
        for step in plan.steps:
            lines.append(f"  then: harness {' '.join(step.arguments)}, {step.search_h:,.1f} GPU h")
    whole = scale.whole(experiments(plans), steps(plans))
    hours = whole.training_h + whole.search_h
    lines.append(
        f"estimated in all: {hours:,.0f} GPU hours of an A100 ({whole.training_h:,.0f} of training, "
        f"{whole.search_h:,.0f} of searching), {hours / GPUS:,.0f} h on {GPUS} of them at best; "
        f"{units.size(whole.disk_bytes)} of disk"
    )
    lines.append("rules of thumb behind the estimate: docs/PAPER.md, reports/paper/cost.py")
    return [*lines, "never run here:", *(f"  - {part}" for part in NEVER_RUN)]


def _costs(experiment: Scaled) -> Iterator[str]:
    for load in experiment.loads:
        hours = f"{load.training_h + load.search_h:10,.1f} GPU h"
        trained = f"{units.count(round(load.train_tokens / 1e6))} M training tokens"
        tokens = trained if load.train_tokens else "nothing to train"
        room = "" if load.fits else f"; does not fit: {units.size(load.gpu_bytes)} and more on each GPU"
        yield f"    {load.system:<22}{hours}   {units.size(load.disk_bytes):>10}   {tokens}{room}"


def experiments(plans: Sequence[Plan]) -> list[Scaled]:
    """List the experiments of plans, each once."""
    return list({scaled.name: scaled for plan in plans for scaled in plan.experiments}.values())


def steps(plans: Sequence[Plan]) -> list[Step]:
    """List what is asked of the runs when they are done, each command once."""
    return list({step.arguments: step for plan in plans for step in plan.steps}.values())


def write(plans: Sequence[Plan], out: Path) -> list[Path]:
    """Write each experiment as TOML, and the settings of accelerate, into a folder; return their paths.

    Raises:
        StorageError: the file system refused.
    """
    written = [out / ACCELERATE]
    write_text(written[0], scale.accelerate_file(), "the settings of accelerate")
    for experiment in experiments(plans):
        written.append(out / f"{experiment.name}.toml")
        write_text(written[-1], scale.toml(experiment.table), "an experiment at the paper's scale")
    return written


def check(plans: Sequence[Plan]) -> None:
    """Refuse to start where GPUs, packages or data are missing.

    Raises:
        ConfigError: says all that is missing.
    """
    datasets = dict.fromkeys(name for plan in plans for name in plan.datasets)
    lacking = list(launch.missing(datasets, GPUS))
    if lacking:
        raise ConfigError(
            f"{GPUS} GPUs, the package accelerate, and the data sets below what HARNESS_DATA names",
            "; ".join(lacking),
            "take the files that were written to a machine that has them (docs/PAPER.md), or use --scale laptop",
        )


def start(plans: Sequence[Plan], out: Path) -> None:
    """Run the experiments one after the other, trainings on all GPUs, then what is asked of their runs.

    Finished cells are kept. The commands behind the runs come last, since given again they begin anew.

    Raises:
        CellError: a run ended with failed cells, or not at all; or a command behind it failed.
    """
    environment = {**os.environ, **launch.environment(out / ACCELERATE)}
    for experiment in experiments(plans):
        _harness(("run", str(out / f"{experiment.name}.toml")), environment)
    for step in steps(plans):
        _harness(step.arguments, environment)


def _harness(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", "harness.cli", *arguments], env=environment, check=False)
    if done.returncode:
        fix = "look at what it said, then give the same command again: finished cells are kept"
        raise CellError(f"harness {' '.join(arguments)} to run to its end", f"exit code {done.returncode}", fix)
