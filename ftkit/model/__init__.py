"""The model: encoder, tokens, batches, losses, optimizers, the loop of training, predictions."""
