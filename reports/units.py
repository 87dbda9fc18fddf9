"""Say figures as people read them: units, thin spaces, a dash for what was not measured."""

from __future__ import annotations

import math
import re

THIN = "\u202f"
"""Narrow no-break space, between figure and unit and between groups of three digits."""
ABSENT = "–"
SIGNIFICANT = 0.05


def label(measure: str) -> str:
    """Name a measure as people read it.

    >>> label("Success@1"), label("RR@5"), label("nDCG@10")
    ('Hits@1', 'MRR@5', 'nDCG@10')
    """
    name, at, cutoff = measure.partition("@")
    return {"Success": "Hits", "RR": "MRR"}.get(name, name) + at + cutoff


def three(value: float) -> str:
    """Write three significant digits, thousands grouped, no exponent.

    >>> three(0.4), three(8.25), three(310), three(538000)
    ('0.40', '8.25', '310', '538\\u202f000')
    """
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    digits = min(max(2 - size, 0), 2 if size >= -1 else 2 - size)
    return f"{value:,.{digits}f}".replace(",", THIN)


def count(value: float | None) -> str:
    """Write a count; totals averaged over seeds may be fractional."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}".replace(",", THIN) if float(value).is_integer() else three(value)


def score(value: float | None) -> str:
    """Write a quality figure (0 to 1) with three decimals."""
    return ABSENT if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Write a difference of quality with its sign.

    >>> signed(-0.0311), signed(0.0)
    ('−0.031', '±0.000')
    """
    text = f"{abs(value):.3f}"
    if text == "0.000":
        return "±" + text
    return ("−" if value < 0 else "+") + text


def p_value(value: float | None) -> str:
    """Write a p value for a table.

    >>> p_value(0.034), p_value(0.0002), p_value(None)
    ('0.034', '<\\u202f0.001', '–')
    """
    if value is None:
        return ABSENT
    return f"<{THIN}0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float) -> str:
    """Write a p value for a sentence, kept on one line.

    >>> p_equals(0.034), p_equals(0.0002)
    ('p\\u202f=\\u202f0.034', 'p\\u202f<\\u202f0.001')
    """
    text = p_value(value)
    return f"p{THIN}{text}" if text.startswith("<") else f"p{THIN}={THIN}{text}"


def percent(value: float | None) -> str:
    """Write a share in percent.

    >>> percent(0.0123), percent(None)
    ('1.2\\u202f%', '–')
    """
    return ABSENT if value is None else f"{value * 100:.1f}{THIN}%"


def milliseconds(value: float | None) -> str:
    """Write a latency given in ms; from 10 s in seconds, below 0.1 ms in microseconds.

    >>> milliseconds(0.4), milliseconds(12000.0), milliseconds(0.012)
    ('0.40\\u202fms', '12.0\\u202fs', '12.0\\u202fµs')
    """
    if value is None:
        return ABSENT
    if 0 < value < 0.1:
        return f"{three(value * 1000)}{THIN}µs"
    return f"{three(value)}{THIN}ms" if value < 10_000 else f"{three(value / 1000)}{THIN}s"


def seconds(value: float | None) -> str:
    """Write a duration given in s.

    >>> seconds(1.3), seconds(640.0), seconds(7300.0)
    ('1.30\\u202fs', '10\\u202fmin 40\\u202fs', '2\\u202fh 1\\u202fmin')
    """
    if value is None:
        return ABSENT
    if value < 100:
        return f"{three(value)}{THIN}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def size(value: float | None) -> str:
    """Write a number of bytes in decimal units.

    >>> size(768_000), size(0), size(None)
    ('768\\u202fkB', '0\\u202fB', '–')
    """
    if value is None:
        return ABSENT
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if value >= 1000**power:
            return f"{three(value / 1000**power)}{THIN}{unit}"
    return f"{value:.0f}{THIN}B"


def ratio(value: float) -> str:
    """Write how many times one figure is another.

    >>> ratio(113.4), ratio(0.42)
    ('113×', '0.42×')
    """
    return f"{three(value)}×" if value < 10 else f"{value:,.0f}×".replace(",", THIN)


def tick(text: str) -> str:
    """Shorten a round figure for an axis.

    >>> tick("10.0 MB"), tick("0.30 ms"), tick("100 ms")
    ('10 MB', '0.3 ms', '100 ms')
    """
    return re.sub(r"\.0+(?=\D)|(?<=\.\d)0+(?=\D)", "", text)
