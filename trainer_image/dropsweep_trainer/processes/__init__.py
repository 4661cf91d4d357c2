"""Processes: how a command is started, watched and ended, whom it runs as, and what it may.

command       the command in its own process group; what it may know of the worker's environment
running       what is the same for every running command, however it was begun
proc          the processes there are
users         whom trials run as, and acting with their rights
capabilities  the right to start trials as other users: raised, and kept from them
isolation     what is done about trials once, when the worker starts
init          what is asked of process 1
"""
