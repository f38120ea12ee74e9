"""Look at the data before anything is trained: what is in it, and what speaks against training on it."""

from ftkit.stages.inspection.stage import *
