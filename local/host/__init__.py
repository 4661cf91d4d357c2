"""A small Azure Functions host: loads function_app.py as it is and fires its triggers.

It imitates what the real host does for queue, blob, timer and http triggers, and no more; what it cannot listen to it
refuses at start. Run it as `python -m local.host`.

`func start` of Azure Functions Core Tools runs the same files, on the storage of `make up ARGS=--no-host`, with one
difference: a blob trigger with `source=EventGrid`, which this host scans for, waits there for an event that somebody
posts to `/runtime/webhooks/blobs?functionName=Host.Functions.{name}`. docs/architecture.md has a ready request.
"""
