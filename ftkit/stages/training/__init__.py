"""Fit the parameters: in a thread of its own, so that whoever started it keeps the wheel."""

from ftkit.stages.training.stage import (
    Fitted,
    Suspended,
    TrainingRun,
    describe_cut,
    hold,
    is_trained_now,
    let_go_on,
    load,
    post_command,
    start,
)

__all__ = [
    "Fitted",
    "Suspended",
    "TrainingRun",
    "describe_cut",
    "hold",
    "is_trained_now",
    "let_go_on",
    "load",
    "post_command",
    "start",
]
