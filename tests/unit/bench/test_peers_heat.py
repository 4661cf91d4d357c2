"""What others used of the machine during a heat."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.heat import Heat, until_quiet
from bench.peers.others import busy, disk_wait_s, others_s
from dropsweep.errors import DropsweepError

HEAT = Heat(num_trials=200, setup_s=3.0, setup_cpu_s=5.0, tuning_s=4.0, tuning_cpu_s=6.0, best=0.9)
TICKS_S = os.sysconf("SC_CLK_TCK")


def stat(*, idle_s: float, waiting_s: float = 0.0, interrupts_s: float = 0.0) -> str:
    ticks = [1, 2, 3, *(round(seconds * TICKS_S) for seconds in (idle_s, waiting_s, interrupts_s, interrupts_s)), 4]
    cores = "\n".join(f"cpu{core} 0 0 0 0 0 0 0 0 0 0" for core in range(4))
    return f"cpu  {' '.join(map(str, ticks))} 0 0\n{cores}\nintr 1 2 3\nctxt 5\n"


def test_what_is_neither_idle_nor_waiting_for_a_disk_is_busy() -> None:
    before = busy(stat(idle_s=100.0, waiting_s=10.0), 1000.0, interrupts_are_apart=False)
    after = busy(stat(idle_s=112.0, waiting_s=13.0), 1010.0, interrupts_are_apart=False)
    assert after - before == pytest.approx(4 * 10.0 - 15.0)


@pytest.mark.parametrize(("are_apart", "expected_s"), [(True, 26.0), (False, 30.0)])
def test_interrupts_count_for_nobody_where_no_process_is_charged_for_them(are_apart: bool, expected_s: float) -> None:
    before = busy(stat(idle_s=100.0, interrupts_s=1.0), 1000.0, interrupts_are_apart=are_apart)
    after = busy(stat(idle_s=110.0, interrupts_s=3.0), 1010.0, interrupts_are_apart=are_apart)
    assert after - before == pytest.approx(expected_s)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_this_process_uses_is_among_what_the_machine_is_busy_with() -> None:
    def both_s() -> tuple[float, float]:
        text = Path("/proc/stat").read_text()
        return busy(text, time.monotonic(), interrupts_are_apart=False), time.process_time()

    busy_s, own_s = both_s()
    while time.process_time() < own_s + 0.5:
        pass
    busy_s, own_s = (now - then for now, then in zip(both_s(), (busy_s, own_s), strict=True))
    assert busy_s > own_s - 0.1


@pytest.mark.parametrize(("others_s", "is_quiet"), [(0.0, True), (0.4, True), (0.41, False), (None, False)])
def test_a_heat_is_quiet_when_it_is_known_that_others_had_a_twentieth_at_most(
    others_s: float | None, is_quiet: bool
) -> None:
    assert replace(HEAT, others_s=others_s).is_quiet(num_cores=2) is is_quiet


def test_what_is_not_a_partys_own_was_used_by_others_and_of_a_short_heat_it_is_not_known() -> None:
    assert others_s(7.0, 4.0, 6.0) == pytest.approx(1.0)
    assert others_s(5.9, 4.0, 6.0) == 0.0
    assert others_s(0.6, 0.4, 0.5) is None


class Runs:
    """Heats that others disturbed as told, of ten seconds each; None fails."""

    def __init__(self, *others_s: float | None) -> None:
        self.left = list(others_s)
        self.now_s = 0.0
        self.said: list[str] = []

    def run(self) -> Heat:
        self.now_s += 10.0
        others_s = self.left.pop(0)
        if others_s is None:
            raise DropsweepError("it did not complete")
        return replace(HEAT, others_s=others_s)

    def until_quiet(self, until: float = 1000.0) -> Heat:
        return until_quiet(self.run, num_cores=2, until=until, say=self.said.append, now=lambda: self.now_s)


def test_a_quiet_heat_is_run_once() -> None:
    runs = Runs(0.1, 0.0)
    assert runs.until_quiet().others_s == 0.1
    assert (len(runs.left), runs.said) == (1, [])


def test_a_disturbed_heat_is_run_three_times_at_most_and_the_quietest_counts() -> None:
    runs = Runs(4.0, 2.0, 3.0, 0.0)
    assert runs.until_quiet().others_s == 2.0
    assert len(runs.left) == 1
    assert runs.said[0] == "  others had 50% of the processors"


def test_a_disturbed_heat_is_not_run_again_when_that_would_end_too_late() -> None:
    runs = Runs(4.0, 3.0, 2.0)
    assert runs.until_quiet(until=20.0).others_s == 3.0
    assert len(runs.left) == 1


def test_a_heat_of_which_nothing_is_known_is_not_run_again() -> None:
    num_runs = 0

    def run() -> Heat:
        nonlocal num_runs
        num_runs += 1
        return HEAT

    assert until_quiet(run, num_cores=2, until=1000.0, say=print) == HEAT
    assert num_runs == 1


def test_a_disturbed_heat_counts_where_the_next_one_fails() -> None:
    runs = Runs(4.0, None)
    assert runs.until_quiet().others_s == 4.0
    assert runs.said[-1] == "  it was not measured again: it did not complete"
    with pytest.raises(DropsweepError):
        Runs(None).until_quiet()


def test_the_wait_for_disks_is_the_total_of_the_line_of_some(tmp_path: Path) -> None:
    file = tmp_path / "io"
    file.write_text("some avg10=1.59 avg60=0.92 avg300=0.97 total=2500000\nfull avg10=1.53 avg60=0.81 total=7\n")
    assert disk_wait_s(file) == pytest.approx(2.5)
    assert disk_wait_s(tmp_path / "none") is None


def test_the_wait_for_disks_is_told_as_a_share_of_the_heat_and_judges_nothing() -> None:
    heat = replace(HEAT, disk_wait_s=1.0, others_s=0.0)
    assert heat.disk_share == pytest.approx(0.25)
    assert heat.is_quiet(num_cores=2)
    assert HEAT.disk_share is None
