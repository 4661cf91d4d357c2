"""The verbs: one file a step of the flow, in this order.

    accept   a dropped file becomes a job, or a rejected one with its reasons
    advance  looks at a job's records; dispatches the next trials, or finishes it
    attempt  claims a trial, keeps the claim alive, commits its one result
    report   writes results.csv, best.json and report.html
    cancel   marks a job so that advance and the workers end it

Each step's docstring says what it reads, what it writes and in which order, what makes it idempotent, what a death
after each write leaves behind, and what comes next.
"""
