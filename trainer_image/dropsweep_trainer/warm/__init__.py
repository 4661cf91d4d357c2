"""Warm starts: a process that has imported what scripts need, and begins each trial as a copy of itself.

`starter` decides for each trial and falls back to an ordinary start; `plain` and `rules` tell it which commands may be
begun so; `template` is the worker's end of the process that makes the copies, `copy` one copy; `inside` is what runs in
both. Nothing below `inside` imports anything from beyond it: the interpreter there is the trials'.
"""
