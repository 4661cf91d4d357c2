"""The soak: many short trials while parties of the system die at random; run by `make soak`.

Whatever dies, every trial must end in exactly one result, and in the one that its parameters call for. `plan` says what
runs and how it must end, `killer` strikes, `ledger` holds what the trials themselves wrote down, `watch` looks whether
a final record ever changes, `verdict` compares the end with the plan, `diagnosis` tells why a job hangs, and `play` is
one run of it all.
"""
