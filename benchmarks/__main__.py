"""Run every comparison, one after the other, or those that are named: `python -m benchmarks board`.

With `--quick` each runs once on next to nothing, and no result is written: it shows that the scripts work.
"""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module

from benchmarks.rounds import QUICK

ALL = (
    "latency",
    "training",
    "steps",
    "busy",
    "frozen",
    "prediction",
    "growth",
    "reading",
    "quality",
    "defaults",
    "few",
    "scores",
    "comparison",
    "sweep",
    "board",
    "gpu",
)

if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument(QUICK, action="store_true", dest="quick")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(ALL):
        parser.error(f"no comparison {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    for name in asked.names or ALL:
        import_module(f"benchmarks.{name}").main(quick=asked.quick)
