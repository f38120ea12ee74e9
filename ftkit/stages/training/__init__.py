"""Fit the parameters: in a thread of its own, so that whoever started it keeps the wheel."""

from ftkit.stages.training.stage import *
