"""A small Azure Functions host: loads function_app.py as it is and fires its triggers.

It imitates what the real host does for queue, blob, timer and http triggers, and no more; what it cannot listen to it
refuses at start. Run it as `python -m local.host`. Where Azure Functions Core Tools are installed, `func start` does
the same with the same files.
"""
