"""Checkpoints: what has changed goes up while a trial runs, at a rate, manifest last; and comes down to resume."""
