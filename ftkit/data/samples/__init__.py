"""Samples: the catalogue, and the packages that carry them."""
