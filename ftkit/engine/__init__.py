"""The engine: encoding, batches, losses, optimizers, metrics, events."""
