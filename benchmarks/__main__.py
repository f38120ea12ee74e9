"""Run every comparison, one after the other, or those that are named: `python -m benchmarks board`."""

from __future__ import annotations

import sys
from importlib import import_module

ALL = ("board",)

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        import_module(f"benchmarks.{name}").main()
