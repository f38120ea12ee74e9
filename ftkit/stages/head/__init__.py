"""Put a new output layer on an encoder, and decide which parameters are trained."""

from ftkit.stages.head.stage import (
    PreparedHead,
    build_model,
    choose_learning_rate,
    compute,
    count_trainable,
    freeze,
    is_solved,
    load,
    load_head_model,
    load_model,
    new_parameters,
    read_spread,
    read_width,
)

__all__ = [
    "PreparedHead",
    "build_model",
    "choose_learning_rate",
    "compute",
    "count_trainable",
    "freeze",
    "is_solved",
    "load",
    "load_head_model",
    "load_model",
    "new_parameters",
    "read_spread",
    "read_width",
]
