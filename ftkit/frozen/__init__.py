"""States of frozen layers, computed once: where to cut, the store on the disk, and what is fitted on them."""
