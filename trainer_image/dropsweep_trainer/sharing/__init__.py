"""What the trials of a node share: its cores, its GPUs and its memory, and how each gets its part."""
