"""Score the best model on a split it has never seen, beside what costs nothing to beat."""

from ftkit.stages.evaluation.stage import *
