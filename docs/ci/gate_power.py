"""How often does a gate see a drop, and how often is it wrong? Simulates runs: the tables in docs/GATE.md.

A system finds half of the queries. Between baseline and run, `changed` of the queries turn, as many hits as misses, as
a system that is not deterministic does; on top, `drop` of the queries are lost. Eight measures are compared: one drops.

    python docs/ci/gate_power.py        # about two minutes
"""

from __future__ import annotations

import sys

import numpy as np

from harness.gate import quality
from harness.gate.thresholds import Thresholds
from harness.gate.verdicts import Verdict

QUERIES, CHANGED, DROPS = (130, 1_300, 3_000), (0.0, 0.02, 0.05, 0.10), (0.01, 0.02, 0.03, 0.05, 0.08)
TRIALS = 50


def turned(hits: np.ndarray, changed: float, rng: np.random.Generator) -> np.ndarray:
    """Draw so many queries anew that `changed` of all turn."""
    return np.where(rng.random(len(hits)) < 2 * changed, rng.random(len(hits)) < 0.5, hits)


def lost(hits: np.ndarray, drop: float, rng: np.random.Generator) -> np.ndarray:
    """Lose `drop` of the queries."""
    now = hits.copy()
    now[rng.choice(np.flatnonzero(hits), round(drop * len(hits)), replace=False)] = False
    return now


def trial(queries: int, changed: float, drop: float, rng: np.random.Generator) -> tuple[bool, bool]:
    """Say whether the gate saw the drop, and whether it saw one where none was."""
    before = rng.random(queries) < 0.5
    runs = [turned(before, changed, rng) for _ in range(8)]
    runs[0] = lost(runs[0], drop, rng)
    sides = {f"m{n}": (values(before), values(run)) for n, run in enumerate(runs)}
    fails = [row.verdict is Verdict.FAIL for row in quality.compare({("data", "system"): sides}, Thresholds())]
    return fails[0], any(fails[1:])


def values(hits: np.ndarray) -> dict[str, float]:
    """Give each query its value."""
    return {str(n): float(hit) for n, hit in enumerate(hits)}


def main() -> None:
    """Print a row for each number of queries and share of changed ones."""
    rng = np.random.default_rng(0)
    for queries in QUERIES:
        for changed in CHANGED:
            found = np.array([[trial(queries, changed, drop, rng) for _ in range(TRIALS)] for drop in DROPS])
            seen = " | ".join(f"{share:.0%}" for share in found[:, :, 0].mean(axis=1))
            sys.stdout.write(f"| {queries:,} | {changed:.0%} | {seen} | {found[:, :, 1].mean():.1%} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
