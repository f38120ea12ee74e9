"""Headless runs: the notebooks executed by papermill, watched and reported from the shell."""
