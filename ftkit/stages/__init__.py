"""The five stages: inspection, preprocessing, head, training, evaluation; plain functions, no display."""
