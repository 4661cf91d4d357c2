"""The verbs: one file a step of the flow, in this order.

    pick_up  a dropped file becomes a submission, or a rejected job with its reasons
    receive  a message becomes a submission, or is buried and answered
    tick     the due times of schedules become submissions
    accept   a submission becomes a job, or is refused with every reason
    advance  looks at a job's records; dispatches the next trials, or finishes it
    tell     answers the sender of a job of each change of its state
    requeue  queues a trial that no worker holds anew, or cancels it
    attempt  claims a trial, keeps the claim alive, commits its one result
    register keeps the record of a node
    fold     sums up the nodes that have left
    report   writes results.csv, best.json and report.html
    cancel   marks a job or a trial so that advance and the workers end it
    pause    marks it so that running trials make way, or go on
    retry    has failed trials tried again
    edit     changes the limits of a live job
    steer    pauses a schedule, lets it go on, or wants one job of it now
    delete   removes a job that has ended, with everything that belongs to it
    retain   deletes finished jobs that their workspace's policy does not want kept any longer
    bury     puts a message that nobody can act on where people find it
    repair   the timer's pass over everything that has not ended

Each step's docstring says what it reads, what it writes and in which order, what makes it idempotent, what a death
after each write leaves behind, and what comes next.
"""
