"""The trainer: receives trial messages, runs each trial's command, and brings its results to the storage account.

Each package imports from those below it alone.

__main__     where it starts
worker       a worker's own life: command line, slots, setup command, idleness, the node's record
messages     one message: received, handled, settled or given back
attempt      one attempt at a trial, from claim to commit
checkpoints  what has changed goes up while it runs, manifest last; down again to resume
claim        holding a trial: heartbeat, fence, and what asks for its end
staging      code and inputs, once a node, and the cache that they lie in
warm         processes that have imported what scripts need, and trials as their copies
sharing      cores, GPUs and memory of a node, and how each trial gets its part
files        what a worker works in; what a trial wrote, opened with care
processes    commands as processes, their users and their rights
"""
