"""Trials that run as users of their own: what they can get at, and what hostile ones get the worker to give away."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.names import CODE
from dropsweep.states import TrialReason
from tests.emulator.deployment import COUNT_UP, ENDS_WHEN_RESUMED, Deployment, command, sweep, until
from tests.emulator.trainer.isolated import SECRET, UID, StartTrainer, everything, needs_root, run

pytestmark = needs_root
REPORT = """printf '{"score": 1}\\n' >> "$DROPSWEEP_METRICS" """


def test_a_trial_runs_as_a_user_of_its_slot_with_no_more_rights_than_that(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer()
    shown = "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status; "
    shown += "cat /proc/self/oom_score_adj; ulimit -c; echo $USER; pwd; echo $TMPDIR; "
    shown += "touch $TMPDIR/x $HOME/x x; stat -c %u ."
    key, final = run(deployment, command(shown))
    assert final.reason is TrialReason.SUCCEEDED, final.message
    lines = deployment.text(key.stdout(0, 1)).splitlines()
    ids = "\t".join([str(UID)] * 4)
    assert lines[:3] == [f"Uid:\t{ids}", f"Gid:\t{ids}", "Groups:\t "]
    assert lines[3:7] == [*(f"Cap{which}:\t{0:016x}" for which in ("Prm", "Eff", "Amb")), "NoNewPrivs:\t1"]
    assert lines[7:10] == ["1000", "0", "trial"]
    assert lines[10].endswith("/work")
    assert lines[11].endswith("/tmp")
    assert lines[12] == str(UID)


def test_everything_a_script_needs_works_as_another_user(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    start_trainer()
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/in/part.sh", b"echo from the code > outputs/said")
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/data/large", b"input")
    script = "sh in/part.sh; cat ${{inputs.d}} > ${{outputs.model}}/copy; echo kept > logs/log; mv in moved; "
    job = command(
        script + COUNT_UP.format(steps=2, pause=0.1),
        code=f"{deployment.workspace}/src",
        inputs={"d": {"type": "uri_file", "path": f"{CODE}/{deployment.workspace}/data/large"}},
        outputs={"model": {"type": "uri_folder"}},
    )
    key, final = run(deployment, job)
    assert (final.reason, final.metrics) == (TrialReason.SUCCEEDED, {"score": 2.0}), final.message
    assert deployment.text(f"{key.outputs(0, 1)}said") == "from the code\n"
    assert deployment.text(f"{key.outputs(0, 1)}model/copy") == "input"
    assert deployment.text(f"{key.kept_logs(0, 1)}log") == "kept\n"
    assert deployment.has_manifest(key, 0)
    until(lambda: list((work / "work").glob("worker-*/0*")) == [])


def test_a_trial_of_another_user_resumes_from_its_checkpoint(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    first = start_trainer("first")
    key = deployment.drop(sweep(ENDS_WHEN_RESUMED, 1))
    deployment.look(key)
    until(lambda: deployment.has_manifest(key, 0))
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED
    start_trainer("second", uid=str(UID + 100))
    deployment.finish(key)
    final = deployment.trial(key, 0)
    assert (final.reason, final.attempt) == (TrialReason.SUCCEEDED, 2)
    resumed = int(deployment.text(key.stdout(0, 2)).splitlines()[0].removeprefix("resumed from "))
    assert final.metrics == {"score": resumed + 3.0}


SPY = """
cat /proc/[0-9]*/environ /proc/[0-9]*/maps /proc/[0-9]*/mem /proc/[0-9]*/cmdline 2> /dev/null | tr "\\0" "\\n"
env
ls -R "$(dirname "$(dirname "$PWD")")" || true
cat "$(dirname "$(dirname "$PWD")")"/lock || true
kill -9 $PPID || echo cannot kill
touch "$(dirname "$(dirname "$PWD")")"/x || echo cannot write beside
"""


def test_a_trial_that_looks_around_finds_no_secret_and_can_change_nothing(
    deployment: Deployment, start_trainer: StartTrainer, connection_string: str
) -> None:
    process = start_trainer()
    key, final = run(deployment, command(SPY))
    assert final.reason is TrialReason.SUCCEEDED, final.message
    found = everything(deployment, key)
    account_key = connection_string.split("AccountKey=")[1].split(";")[0]
    assert SECRET.encode() not in found
    assert account_key.encode() not in found
    printed = deployment.text(key.stdout(0, 1))
    assert "cannot kill\n" in printed
    assert "cannot write beside\n" in printed
    assert process.poll() is None


TRAPS = {
    "a link among the outputs": "ln -s /proc/$PPID/environ outputs/x; ln -s /proc/self/environ outputs/y; "
    "ln -s /proc/thread-self/environ logs/z",
    "a link in place of the logs": "rm -rf logs; ln -s /proc/self logs; ln -s /proc/self outputs/all",
    "a link in place of what is printed": "cd ../; echo a; mv stdout.txt o; ln -s /proc/self/environ stdout.txt; "
    "rm stderr.txt; ln -s /proc/self/environ stderr.txt; sleep 2.5",
    "a link in place of the metrics": 'rm -f "$DROPSWEEP_METRICS"; ln -s /proc/self/environ "$DROPSWEEP_METRICS"; '
    "sleep 2.5",
    "a link as a checkpoint": 'ln -s /proc/self "$DROPSWEEP_CHECKPOINTS/one"; mkdir "$DROPSWEEP_CHECKPOINTS/.two"; '
    'ln -s /proc/self/environ "$DROPSWEEP_CHECKPOINTS/.two/x"; '
    'mv "$DROPSWEEP_CHECKPOINTS/.two" "$DROPSWEEP_CHECKPOINTS/two"; sleep 2.5',
    "a link in place of the checkpoints": 'rmdir "$DROPSWEEP_CHECKPOINTS"; mkdir ../c; '
    'ln -s /proc/self "$DROPSWEEP_CHECKPOINTS"; sleep 2.5',
    "pipes everywhere": 'mkfifo outputs/p logs/p; rm -f "$DROPSWEEP_METRICS"; mkfifo "$DROPSWEEP_METRICS"; '
    'cd ..; rm stdout.txt stderr.txt; mkfifo stdout.txt stderr.txt; mkdir "$DROPSWEEP_CHECKPOINTS/.p"; '
    'mkfifo "$DROPSWEEP_CHECKPOINTS/.p/p"; mv "$DROPSWEEP_CHECKPOINTS/.p" "$DROPSWEEP_CHECKPOINTS/p"; sleep 2.5',
    "links and files that take turns": "(while :; do ln -sfn /proc/self outputs/d; rm outputs/d; mkdir outputs/d; "
    "echo a > outputs/d/environ; rm -r outputs/d; done) > /dev/null 2>&1 & sleep 1",
    "a folder that is its own grandchild's": "mkdir -p outputs/a; ln -s .. outputs/a/up; ln -s / outputs/root",
    "a line of metrics without an end": 'truncate -s 100M "$DROPSWEEP_METRICS"; sleep 1; echo >> "$DROPSWEEP_METRICS"',
    "modes that shut everything": "mkdir -p a/b/c; chmod 0 a/b; chmod 0 .; sleep 1",
}


@pytest.mark.parametrize("is_shut_off", [True, False], ids=["own user", "worker's user"])
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
def test_a_trap_gives_nothing_away_and_costs_the_worker_nothing(
    deployment: Deployment,
    start_trainer: StartTrainer,
    connection_string: str,
    work: Path,
    trap: str,
    is_shut_off: bool,
) -> None:
    process = start_trainer(uid=str(UID) if is_shut_off else "")
    key, final = run(deployment, command(f"{trap}\ntrue"))
    assert (final.attempt, final.num_lost) == (1, 0), final.message
    assert final.reason in (TrialReason.SUCCEEDED, TrialReason.OUTPUTS_FAILED), final.message
    found = everything(deployment, key)
    assert SECRET.encode() not in found
    assert connection_string.split("AccountKey=")[1].split(";")[0].encode() not in found
    key, final = run(deployment, command("echo well") | {"name": "after"})
    assert final.reason is TrialReason.SUCCEEDED
    assert process.poll() is None
    until(lambda: list((work / "work").glob("worker-*/0*")) == [])


def test_trials_beside_each_other_cannot_reach_each_other(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    start_trainer(slots=2)
    (work / "met").mkdir()
    (work / "met").chmod(0o777)
    meet = f"touch {work}/met/{{0}}-$(id -u); until [ $(ls {work}/met | grep -c {{0}}) = 2 ]; do sleep 0.1; done"
    look = (
        f"echo mine > secret; id -u; sleep 600 & own=$!; {meet.format('here')}; "
        'for other in $(pgrep -u "$OTHER" sleep); do '
        f"cat /proc/$other/environ; cat /proc/$other/cwd/secret; kill $other; done; {meet.format('done')}; "
        f"kill $own; {REPORT}"
    )
    look = f"OTHER=$(( {2 * UID + 1} - $(id -u) )); {look}"
    key = deployment.drop(sweep(look, 2))
    deployment.finish(key)
    uids = sorted(deployment.text(key.stdout(trial, 1)).splitlines()[0] for trial in (0, 1))
    assert uids == [str(UID), str(UID + 1)]
    errors = "".join(deployment.text(key.stderr(trial, 1)) for trial in (0, 1))
    assert errors.count("Permission denied") >= 2
    assert "not permitted" in errors
    assert "mine" not in "".join(deployment.text(key.stdout(trial, 1)) for trial in (0, 1))


def test_code_and_inputs_in_the_cache_can_be_read_and_not_changed(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer()
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/data/one", b"input")
    path = f"{CODE}/{deployment.workspace}/data"
    tries = 'cat "$I/one"; echo x > "$I/one"; rm -f "$I/one"; mv "$I" "$I.x"; chmod 777 "$I"; ls "$I/.."; true'
    job = command(f'I="${{{{inputs.d}}}}"; {tries}', inputs={"d": {"type": "uri_folder", "path": path}})
    key, final = run(deployment, job)
    assert final.reason is TrialReason.SUCCEEDED
    assert deployment.text(key.stdout(0, 1)) == "input"
    assert deployment.text(key.stderr(0, 1)).count("ermission denied") == 4
    assert deployment.text(key.stderr(0, 1)).count("not permitted") == 1


def test_what_gets_away_from_its_trial_in_a_container_is_ended_and_its_files_are_removed(
    deployment: Deployment, start_trainer: StartTrainer, work: Path
) -> None:
    (work / "seen").mkdir()
    (work / "seen").chmod(0o777)
    start_trainer(container=True)
    away = f"while :; do date +%s%N > {work}/seen/alive; sleep 0.05; done"
    text = (
        f"touch /dev/shm/{work.name}-x /tmp/{work.name}-x; (setsid setsid sh -c '{away}' &) ; "
        f"until [ -e {work}/seen/alive ]; do sleep 0.1; done; ls {work}/seen"
    )
    key, final = run(deployment, command(text))
    assert (final.reason, deployment.text(key.stdout(0, 1))) == (TrialReason.SUCCEEDED, "alive\n"), final.message
    before = (work / "seen" / "alive").read_text()
    run(deployment, command("sleep 0.5") | {"name": "after"})
    assert (work / "seen" / "alive").read_text() == before
    assert not Path(f"/dev/shm/{work.name}-x").exists()
    assert not Path(f"/tmp/{work.name}-x").exists()


def test_a_trial_that_starts_processes_without_end_is_stopped_by_its_limit_and_told_of_it(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer(container=True, cluster=Cluster(deployment.cluster, trial_processes=40))
    bomb = "ulimit -u; for i in $(seq 100); do setsid sleep 600 & done; wait"
    key, final = run(deployment, command(bomb))
    assert deployment.text(key.stdout(0, 1)) == "40\n"
    assert (final.reason, final.exit_code) == (TrialReason.EXIT_CODE, 254)
    assert "the cluster allows a trial 40 processes and threads: limits.processes in its file" in final.message
    _, after = run(deployment, command("sleep 0.1") | {"name": "after"})
    assert after.reason is TrialReason.SUCCEEDED


def test_a_trial_without_a_user_of_its_own_that_starts_too_many_processes_is_ended(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer(uid="", cluster=Cluster(deployment.cluster, trial_processes=10))
    _, final = run(deployment, command("for i in $(seq 20); do sleep 600 & done; wait"))
    assert (final.reason, final.exit_code) == (TrialReason.SIGNAL, -9)
    assert "it had 21 processes and threads; the cluster allows a trial 10" in final.message


HUNGRY = "exec /usr/bin/python3 -c 'x = bytearray(b\"x\" * (300 << 20)); import time; time.sleep(60)'"


@pytest.mark.parametrize("uid", [str(UID), ""], ids=["own user", "worker's user"])
def test_a_trial_above_its_memory_is_ended_with_that_reason(
    deployment: Deployment, start_trainer: StartTrainer, uid: str
) -> None:
    start_trainer(uid=uid, cluster=Cluster(deployment.cluster, trial_memory_bytes=200 * 2**20))
    _, final = run(deployment, command(f"echo a > outputs/kept; {HUNGRY}"))
    assert (final.reason, final.exit_code) == (TrialReason.OUT_OF_MEMORY, -9)
    used = r"its processes used \d{3} MiB of memory together"
    allowed = r"the cluster allows a trial 200 MiB: limits\.memory in its file"
    assert re.fullmatch(f"out of memory, ended by SIGKILL: {used}; {allowed}", final.message)


def test_what_gets_away_from_its_trial_in_a_container_counts_for_its_memory(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer(container=True, cluster=Cluster(deployment.cluster, trial_memory_bytes=200 * 2**20))
    away = HUNGRY.replace("'", "'\\''")
    _, final = run(deployment, command(f"(setsid setsid sh -c '{away}' &); sleep 60"))
    assert final.reason is TrialReason.OUT_OF_MEMORY


def test_a_trial_that_ran_out_of_memory_is_tried_again_where_its_job_asks_for_it(
    deployment: Deployment, start_trainer: StartTrainer
) -> None:
    start_trainer(cluster=Cluster(deployment.cluster, trial_memory_bytes=200 * 2**20))
    text = f'if [ "$DROPSWEEP_ATTEMPT" = 1 ]; then {HUNGRY}; fi'
    _, final = run(deployment, command(text, retry_settings={"max_retries": 1}))
    assert (final.reason, final.attempt, final.num_retries) == (TrialReason.SUCCEEDED, 2, 1)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"DROPSWEEP_PASS_ENV": "HF_HOME, IDENTITY_HEADER"}, "names IDENTITY_HEADER"),
        ({"DROPSWEEP_TRIAL_UID": "0"}, "DROPSWEEP_TRIAL_UID='0' must be"),
    ],
)
def test_a_worker_that_would_give_its_rights_to_trials_does_not_start(
    start_trainer: StartTrainer, work: Path, environment: dict[str, str], told: str
) -> None:
    process = start_trainer(**environment) if "DROPSWEEP_TRIAL_UID" not in environment else start_trainer(uid="0")
    assert process.wait(60) == 2
    assert told in (work / "worker.log").read_text()


def test_a_work_folder_that_trials_cannot_reach_is_told_at_the_start(start_trainer: StartTrainer, work: Path) -> None:
    work.chmod(0o700)
    assert start_trainer().wait(60) == 2
    assert f"cannot be reached by user {UID}" in (work / "worker.log").read_text()


def test_no_worker_without_the_right_to_switch_pretends_to(deployment: Deployment, work: Path) -> None:
    program = (
        "import logging, os, sys; logging.basicConfig(level=logging.INFO)\n"
        "from pathlib import Path\n"
        "from dropsweep.clusters import Cluster\n"
        "from dropsweep_trainer.processes import isolation\n"
        "cluster = Cluster('c', shm_size_bytes=2**60)\n"
        "print(isolation.prepare(os.environ, cluster, 2, Path('work')))"
    )
    work.chmod(0o777)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program],
        env={"PYTHONPATH": f"{root}/shared:{root}/trainer_image", "DROPSWEEP_TRIAL_UID": "20000"},
        cwd=work,
        user=10_001,
        group=10_001,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[None, None]\n"
    assert done.stderr.count("trials run as the worker's own user 10001") == 1
    assert "/dev/shm has " in done.stderr
    assert "cluster c promises 1048576Ti" in done.stderr
