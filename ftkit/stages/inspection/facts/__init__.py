"""What the checks look at: a few numbers of each example, measured in one pass."""
