"""Measures what the system promises; run by `make bench`."""
