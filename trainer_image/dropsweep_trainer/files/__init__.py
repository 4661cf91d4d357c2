"""What lies on the node's disk for a trial, and what of it comes from the trial.

folders   what a worker works in, and removes
reach     what a trial may have changed, opened with care
reported  metrics, as the file grows
keepable  which files the storage can keep
"""
