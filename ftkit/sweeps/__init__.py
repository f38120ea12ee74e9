"""Many recipes of one kind: what is tried, what was proposed and what it came to."""
