"""Measures what the system promises, with real processes and real storage; run by `make bench`.

Benchmarks are not tests: nothing here fails because a number is over its bar. The system module runs a stack for one
measure, `requests` reads from the storage's own log what was asked of it, `results` holds what came out, and each other
module is one measure.
"""
