"""What runs inside the template and its copies: with the trials' interpreter, and the standard library alone.

`template.py` is started by its path and reads the others from beside it; no package of ours need be importable there.
"""
