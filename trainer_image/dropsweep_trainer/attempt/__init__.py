"""One attempt at a trial: staged, run, kept and committed.

trial        from claim to commit
preparing    code, inputs and the latest checkpoint, on their way to the node
environment  the variables that the command sees
watching     the command, waited for or ended
leftovers    what it leaves outside of its folder
uploads      what goes to the account, while it runs and afterwards
shipping     stdout, stderr and metrics, while it runs
judging      what the attempt comes to, by how its command ended and what asked for that
outcome      from an exit code to a reason with a message for people
attempt      what all of these share
node         what all trials of one worker share
"""
