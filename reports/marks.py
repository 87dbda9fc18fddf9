"""Signs beside figures: which is the baseline, and what differs from it significantly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.load import Comparison, Row, Section

REFERENCE, BETTER, WORSE = "†", "▲", "▼"
PARTLY_TESTED = "not tested on every seed"
"""What is said in place of a p value: a system failed on a seed, or another baseline is the best there."""
OPPOSED = "not of one sign on all seeds"
"""What is said in place of a p value: the system is better on one seed and worse on another."""
LEGEND = (
    f"{REFERENCE} best baseline of its column; {BETTER} better / {WORSE} worse than it with p < 0.05 "
    "after Holm's correction."
)


def without_p(found: Comparison) -> str:
    """Say why a comparison of several seeds has no p value."""
    return OPPOSED if found.opposed else PARTLY_TESTED


def against(section: Section, row: Row, reference: Row | None, measure: str) -> str:
    """Mark a system by its test against the `reference` of a measure; brackets take no part."""
    if reference is None or row.bracket:
        return ""
    if row.system == reference.system:
        return REFERENCE
    found = section.compare(row.system, reference.system, measure)
    if found is None or not found.significant or found.difference == 0:
        return ""
    return BETTER if found.difference > 0 else WORSE
