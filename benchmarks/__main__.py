"""Run every comparison, one after the other, or those that are named: `python -m benchmarks board`.

With `--quick` each runs once on next to nothing, and no result is written: it shows that the scripts work.
"""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.rounds import QUICK

ALL = ("latency", "training", "steps", "frozen", "prediction", "growth", "quality", "board")

if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != QUICK]
    for name in names or ALL:
        import_module(f"benchmarks.{name}").main(quick=QUICK in sys.argv)
