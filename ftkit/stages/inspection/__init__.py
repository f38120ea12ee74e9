"""Look at the data before anything is trained: what is in it, and what speaks against training on it."""

from ftkit.stages.inspection.stage import Report, compute, inspect_splits, load

__all__ = ["Report", "compute", "inspect_splits", "load"]
