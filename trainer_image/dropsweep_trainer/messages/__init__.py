"""The messages of trials: received, handled, and settled or given back.

receiving  the order of the queues, and how often an empty one is looked into
pace       how many messages are received at once
taken      messages that are received before the setup command runs
handling   one message: claim → run → what follows
keepers    what follows, beside the slot's next trial
jobs       specs and records of the jobs at hand
ending     the end of an attempt: keep → commit → settle, or give back
settling   tells `advance`, then deletes the message
"""
