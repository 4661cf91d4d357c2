"""The trainer: receives trial messages, runs each trial's command, and brings its results to the storage account.

__main__      where it starts
init          what is asked of process 1
capabilities  the right to start trials as other users: raised, and kept from them
isolation     what is done about trials once, when the worker starts
serve         the worker's command line and its end
slots         places for trials, and their GPUs
worker        the slots, from the preparation of their node to their end
registration  the node's record in the account
preparing     mounts and the setup command
keeping       messages that are taken before the setup command runs
receiving     the order of the queues, and how often an empty one is looked into
pace          how many messages are received at once
idleness      when a worker has nothing to do any more
handling      one message: claim → run → what follows
keepers       what follows, beside the slot's next trial
ending        the end of an attempt: keep → commit → settle, or give back
jobs          specs and records of the jobs at hand
trial         one attempt from claim to commit
interruption  what asks for its end
folders       what a worker works in, and removes
users         whom trials run as, and acting with their rights
reach         what a trial may have changed, opened with care
limits        what a trial may use, and a watch over it
proc          the processes there are
leftovers     what a trial leaves outside of its folder
staging       code and inputs, once a node, and the cache that they lie in (a package)
reported      metrics, as the file grows
process       the command in its own process group; what it may know
running       what is the same for every running command
warm          processes that have imported what scripts need, and trials as their copies (a package)
shipping      stdout, stderr and metrics, while it runs
keepable      which files the storage can keep
checkpoints   what has changed goes up while it runs, manifest last; down again to resume (a package)
heartbeat     keeps claim and message alive; hears of cancellation
settling      tells `advance`, then deletes the message
"""
