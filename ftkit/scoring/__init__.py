"""Numbers in, scores out: metrics, intervals, effects, and the best path of tags; no torch."""
