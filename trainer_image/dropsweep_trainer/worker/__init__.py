"""A worker's own life, from its command line to its end.

serve         the command line, and the exit status
worker        the slots, from the preparation of their node to their end
preparing     mounts and the setup command
registration  the node's record in the account
idleness      when there is nothing to do any more
"""
