"""The checks of the data: each looks at the facts of the splits and gives findings."""
