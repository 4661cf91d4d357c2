"""The HTTP API: `app.create_app` makes it, `functions/api.py` serves it.

A module a group of routes. The documents are the records as they lie in the storage, and what `dropsweep.documents`
makes of the client's answers; `models` describes them. docs/http-api.md is for its users.
"""
