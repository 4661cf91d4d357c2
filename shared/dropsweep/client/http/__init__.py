"""The client over the HTTP API: what `Client` does on the account, through requests."""

from dropsweep.client.http.client import HttpClient

__all__ = ["HttpClient"]
