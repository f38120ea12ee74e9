"""Measured comparisons: scripts whose output the README quotes."""
