"""Which example goes to which split, and the splits on the disk."""
