"""Readers, a module a format: each opens files and streams their examples."""
