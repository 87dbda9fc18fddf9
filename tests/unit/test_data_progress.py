"""Progress of work on data is said now and then, not at every step."""

from __future__ import annotations

from harness.data_progress import Paced


def test_a_line_now_and_then() -> None:
    clock = iter([0.0, 0.0, 0.0, 4.0, 11.0, 12.0, 30.0, 31.0])
    lines: list[str] = []
    paced = Paced(lines.append, 10.0, lambda: next(clock))
    paced.phase("read", 400, "passages")
    paced.advance(10)  # 4 s
    paced.advance(100)  # 11 s
    paced.advance(10)  # 12 s
    paced.advance(180)  # 30 s
    paced.record({"loss": 1.0})
    assert lines == ["read: 110/400 passages · 10.0/s · 29 s left", "read: 300/400 passages · 10.0/s · 10 s left"]
