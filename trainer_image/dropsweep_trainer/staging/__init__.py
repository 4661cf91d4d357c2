"""Code and inputs of trials on their node: brought once, read-only, shared, and removed when room is needed.

stage      code and inputs of a trial: what of the account it needs, and where that lies
downloads  a folder of blobs on its way into the cache
cache      folders on the node's disk: filled once, read by many
room       what goes when the cache holds too much
objects    the content of its files, each once
seals      by which a change is seen
locks      that go with the process that holds them
copies     of code, for each trial
"""
