import signal
from pathlib import Path

import pytest

from dropsweep.spec.job import Retry
from dropsweep.states import TrialReason
from dropsweep_trainer.attempt.outcome import Outcome, exceeded, judged, retried, retried_alone
from dropsweep_trainer.files.reported import Reported
from dropsweep_trainer.sharing import exhaustion
from dropsweep_trainer.sharing.limits import Excess

TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\n'


@pytest.mark.parametrize(
    "text",
    [
        TRACEBACK + "MemoryError",
        TRACEBACK + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total …",
        TRACEBACK + "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
        TRACEBACK + "RuntimeError: CUDA error: out of memory",
        TRACEBACK + "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        TRACEBACK + "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 TiB for an array",
        TRACEBACK + "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
        TRACEBACK + "OSError: [Errno 12] Cannot allocate memory",
        TRACEBACK + "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nAborted",
        "bash: fork: Cannot allocate memory",
        TRACEBACK + "MemoryError\nresource_tracker: There appear to be 1 leaked semaphore objects to clean up",
        TRACEBACK
        + "KeyError: 'x'\nDuring handling of the above exception, another exception occurred:\nMemoryError: no",
    ],
)
def test_errors_that_tell_of_memory_are_known(text: str) -> None:
    assert exhaustion.is_told(text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACEBACK + "KeyError: 'MemoryError'",
        TRACEBACK + "MemoryError\n" + TRACEBACK + "ValueError: the smaller batch is no good either",
        "MemoryErrors: 0",
        "epoch 1: no out of memory so far",
    ],
)
def test_others_are_not(text: str) -> None:
    assert not exhaustion.is_told(text.splitlines())


def outcome_of(exit_code: int, stderr: str, tmp_path: Path) -> Outcome:
    (tmp_path / "stderr.txt").write_text(stderr)
    return judged(exit_code, None, Reported(tmp_path / "metrics.jsonl"), tmp_path / "stderr.txt")


def test_a_command_that_says_it_ran_out_of_memory_has_that_reason(tmp_path: Path) -> None:
    outcome = outcome_of(1, TRACEBACK + "MemoryError: 5 GiB", tmp_path)
    assert outcome == Outcome(TrialReason.OUT_OF_MEMORY, "exit code 1: MemoryError: 5 GiB", 1, lacked_memory=True)
    aborted = outcome_of(-signal.SIGABRT, "  what():  std::bad_alloc", tmp_path)
    assert (aborted.reason, aborted.message) == (
        TrialReason.OUT_OF_MEMORY,
        "ended by SIGABRT: what():  std::bad_alloc",
    )


@pytest.mark.parametrize(("exit_code", "reason"), [(-9, TrialReason.SIGNAL), (137, TrialReason.EXIT_CODE)])
def test_a_death_by_sigkill_may_be_for_want_of_memory(exit_code: int, reason: TrialReason, tmp_path: Path) -> None:
    outcome = outcome_of(exit_code, "epoch 3\n", tmp_path)
    assert (outcome.reason, outcome.lacked_memory) == (reason, True)
    assert not outcome_of(-15, "epoch 3\n", tmp_path).lacked_memory
    assert not outcome_of(1, "epoch 3\n", tmp_path).lacked_memory


def test_a_trial_that_ran_out_of_memory_beside_others_is_retried_alone_without_being_asked_to() -> None:
    outcome = exceeded(Excess(is_memory=True, message="much"), -9)
    alone = retried_alone(outcome, was_alone=False, may_fit=True)
    assert alone.reason is TrialReason.RETRYING
    assert alone.is_next_alone
    assert alone.message == "out of memory, ended by SIGKILL: much; ran out of memory, retried alone on its node"
    # None of the retries that the job allows is spent on it, nor is another one added.
    assert retried(alone, Retry(max_retries=1), 0) == alone


def test_it_is_retried_alone_once_and_not_where_that_would_change_nothing() -> None:
    outcome = exceeded(Excess(is_memory=True, message="much"), -9)
    again = retried_alone(outcome, was_alone=True, may_fit=True)
    assert (again.reason, again.is_next_alone) == (TrialReason.OUT_OF_MEMORY, False)
    assert again.message == "out of memory, ended by SIGKILL: much; it was alone on its node"
    assert retried_alone(outcome, was_alone=False, may_fit=False) == outcome
    assert retried(again, Retry(max_retries=1), 0).reason is TrialReason.RETRYING


@pytest.mark.parametrize("reason", [TrialReason.SUCCEEDED, TrialReason.NO_METRIC, TrialReason.EXIT_CODE])
def test_other_ends_are_not_retried_alone(reason: TrialReason) -> None:
    outcome = Outcome(reason, "", 1)
    assert retried_alone(outcome, was_alone=False, may_fit=True) == outcome


def test_too_many_processes_are_no_want_of_memory() -> None:
    outcome = exceeded(Excess(is_memory=False, message="many"), -9)
    assert retried_alone(outcome, was_alone=False, may_fit=True) == outcome


def test_of_a_death_by_sigkill_nobody_says_that_it_was_memory_for_certain() -> None:
    outcome = Outcome(TrialReason.SIGNAL, "ended by SIGKILL (out of memory?)", -9, lacked_memory=True)
    told = retried_alone(outcome, was_alone=False, may_fit=True).message
    assert told == "ended by SIGKILL (out of memory?); it may have run out of memory, retried alone on its node"
