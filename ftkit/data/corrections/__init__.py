"""Corrections of labels: the file of decisions, and its application on reading."""
