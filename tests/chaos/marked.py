"""The marked points of an attempt: jobs whose trials wait, each at another one, until the test lets them go on."""

from typing import Final

from dropsweep.names import CODE, JobKey
from tests.chaos.processes import PATIENCE_S, Trainer, Trainers
from tests.emulator.deployment import REPORT_X, sweep, until

POINTS: Final = ("training", "staging", "checkpoint", "manifest", "outputs", "commit")
"""Where an attempt can be when its trainer is stopped or ended."""
GATES: Final = (
    ("training", r"^PUT .*/training-[^/]+/trials/.*/1/stdout\.txt\?.*comp=appendblock"),
    ("staging", r"^GET .*/src/large"),
    ("checkpoint", r"^PUT .*/checkpoint-[^/]+/.*/checkpoints/0001-.*/large\?.*comp=block(&|$| )"),
    ("manifest", r"^PUT .*/manifest-[^/]+/.*/checkpoints/0001-[^/]*\.manifest\.json"),
    ("outputs", r"^PUT .*/outputs-[^/]+/.*/attempts/1/outputs/a"),
    ("commit", r"^PUT .*/commit-[^/]+/records/.* completed$"),
)
_LARGE_BYTES: Final = 150 * 1024 * 1024
"""More than one block, whatever the size of a block."""
_MAKE = """
mkdir "$DROPSWEEP_CHECKPOINTS/.{name}"; {write} > "$DROPSWEEP_CHECKPOINTS/.{name}/{file}"
mv "$DROPSWEEP_CHECKPOINTS/.{name}" "$DROPSWEEP_CHECKPOINTS/{name}"
"""


def drop_marked(trainers: Trainers) -> dict[str, JobKey]:
    """Drops a job of one trial for each of `POINTS`, whose first attempt comes to the gate of that name and stays.

    A second attempt makes a checkpoint, waits for the file `finish`, and succeeds. In "training" the first attempt
    prints all the time, and makes a checkpoint once the file `asleep` exists.
    """
    folder = trainers.folder
    first = {
        "training": f"""
            (until [ -e {folder}/asleep ]; do sleep 0.1; done; {_MAKE.format(name="late", write="echo 1", file="s")}) &
            while :; do echo tick; sleep 0.1; done""",
        "staging": "sleep 600",
        "checkpoint": _MAKE.format(name="a", write=f"head -c {_LARGE_BYTES} /dev/zero", file="large") + "sleep 600",
        "manifest": _MAKE.format(name="a", write="echo 1", file="small") + "sleep 600",
        "outputs": f"echo a > outputs/a; echo b > outputs/b; {REPORT_X}",
        "commit": REPORT_X,
    }
    code = f"{trainers.deployment.workspace}/src"
    trainers.deployment.store.blobs.put(CODE, f"{code}/large", bytes(300_000))
    keys = {}
    for point in POINTS:
        script = f"""
            echo $$ > {folder}/{point}-$DROPSWEEP_ATTEMPT.pid
            if [ $DROPSWEEP_ATTEMPT = 1 ]; then {first[point]}
            else {_MAKE.format(name="again", write="echo 2", file="step")}
            until [ -e {folder}/finish ]; do sleep 0.1; done; {REPORT_X}
            fi"""
        document = sweep(script, 1)
        if point == "staging":
            document["trial"]["code"] = code
        keys[point] = trainers.deployment.drop(document, f"e/{point}.json")
        trainers.deployment.look(keys[point])
    return keys


def until_all_wait(trainer: Trainer) -> None:
    """Waits until the trainer has come to every gate of `GATES`."""
    until(lambda: all(trainer.waits_at(point) for point in POINTS), PATIENCE_S)
