"""Test systems of several runs against each other, on the queries they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.significance import compare, holm, paired_randomisation
from reports.load import Comparison, Row
from reports.queries import averages

SEED = 0
"""Of the tests; the runs may have had any."""

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""system -> measure -> qid -> value."""


def named(run: str, system: str) -> str:
    """Name a system by its run.

    >>> named("standard", "bm25")
    'standard: bm25'
    """
    return f"{run}: {system}"


def paired(rows: Sequence[Row], runs: Sequence[str]) -> tuple[Comparison, ...]:
    """Compare every system with the best baseline of all runs, and with itself in the run before.

    Holm's correction runs over all of them. A system nothing is kept of query by query, or measured on other queries
    than the first, is left out.
    """
    values = _on_the_same_queries({row.system: own for row in rows if (own := averages(row))})
    families = {row.system: row.family for row in rows}
    found: list[dict[str, Any]] = [dict(row) for row in compare(values, families, dataset="", split="", seed=SEED)]
    known = {_pair(row) for row in found}
    found += [row for row in _own(values, runs) if _pair(row) not in known]
    adjusted = holm([row["p"] for row in found])
    return tuple(
        Comparison(r["system"], r["baseline"], r["measure"], r["difference"], r["p"], p_holm, r["n"])
        for r, p_holm in zip(found, adjusted, strict=True)
    )


def _pair(row: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    return row["measure"], frozenset((row["system"], row["baseline"]))


def _on_the_same_queries(values: Values) -> dict[str, Mapping[str, Mapping[str, float]]]:
    first = next(iter(values.values()), {})
    wanted = {measure: by_qid.keys() for measure, by_qid in first.items()}
    return {s: v for s, v in values.items() if all(v.get(m, {}).keys() in (qids, set()) for m, qids in wanted.items())}


def _own(values: Values, runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Compare each system with itself in the run before."""
    starts = [named(run, "") for run in runs]
    systems = dict.fromkeys(n.removeprefix(start) for start in starts for n in values if n.startswith(start))
    for system in systems:
        own = [name for run in runs if (name := named(run, system)) in values]
        for before, after in pairwise(own):
            for measure in (m for m in values[after] if m in values[before]):
                a, b = values[after][measure], values[before][measure]
                theirs = [b[qid] for qid in a]
                p = paired_randomisation(list(a.values()), theirs, SEED)
                difference = sum(a.values()) / len(a) - sum(theirs) / len(a)
                pair = {"system": after, "baseline": before, "measure": measure}
                yield pair | {"difference": difference, "p": p, "n": len(a)}
