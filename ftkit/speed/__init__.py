"""What replaces something inside torch or transformers to be faster, and the device that computes."""
