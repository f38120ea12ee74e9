"""Samples, readers and splits."""
