"""The trainer: receives trial messages, runs each trial's command, and brings its results to the storage account.

__main__      where it starts
init          what is asked of process 1
serve         the worker's command line and its end
worker        the slots: receive → claim → run → settle
trial         one attempt from claim to commit
folders       what a worker works in, and removes
staging       code and inputs, cached on the node
reported      metrics, as the file grows
process       the command in its own process group; what it may know
shipping      stdout, stderr and metrics, while it runs
checkpoints   up while it runs, manifest last; down again to resume
heartbeat     keeps claim and message alive; hears of cancellation
settling      tells `advance`, then deletes the message
"""
