"""Numbers in words, written the same way wherever they are shown: counts, lengths of time, sizes."""

from __future__ import annotations

__all__ = ["describe_duration", "describe_number", "describe_size", "plural"]


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "text"), plural(1200, "text")
    ('1 text', '1,200 texts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_duration(seconds: float, *, rough: bool = False) -> str:
    """Return a length of time as people say it.

    Args:
        seconds: of it.
        rough: it is an estimate, and shown with one unit.

    >>> describe_duration(3.21), describe_duration(75), describe_duration(7260)
    ('3.2 s', '1 min 15 s', '2 h 1 min')
    >>> [describe_duration(seconds, rough=True) for seconds in (8.4, 200, 9000)]
    ['8 s', '3 min', '2.5 h']
    """
    if rough:
        if seconds < 90:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def describe_size(count: int) -> str:
    """Return bytes as people read them.

    >>> describe_size(83_506_384), describe_size(133_425)
    ('83.5 MB', '0.13 MB')
    """
    megabytes = count / 1e6
    return f"{megabytes:.1f} MB" if megabytes >= 1 else f"{megabytes:.2f} MB"


def describe_number(value: float | None, form: str = ".4f", *, missing: str = "–") -> str:
    """Return a number as tables have it.

    Args:
        value: None where there is none.
        form: format.
        missing: what stands for None.

    >>> describe_number(0.97671), describe_number(None), describe_number(2e-5, ".4g")
    ('0.9767', '–', '2e-05')
    """
    return missing if value is None else format(value, form)
