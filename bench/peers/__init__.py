"""A race against other tools for hyper-parameter search on this machine; run by `make bench-peers`.

All run the same training code (`training`), in `races` of the same length, one `heat` after the other. Each tool is
one module of `parties`, which runs in a process of its own, the other tools' in an environment of their own. `cpu`
counts the processor time of everything that a heat starts, and `others` what else the machine did meanwhile.
`standings` sums up what came out and checks it against the bars, `document` keeps it in a file, and `tables` and
`picture` show it.
"""
