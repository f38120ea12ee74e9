"""Runs beside each other: what differs in their recipes, their scores, and which is better, if any."""
