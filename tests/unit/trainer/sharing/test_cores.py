import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep_trainer.sharing.cores import (
    THREAD_VARIABLES,
    Cores,
    find_cores,
    pinned,
    thread_variables,
    without_overruled,
)

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux's affinity")
PAIRS = ((0, 4), (1, 5), (2, 6), (3, 7))


@st.composite
def machines(draw: st.DrawFn) -> Cores:
    sizes = draw(st.lists(st.integers(1, 2), min_size=1, max_size=12))
    numbers = iter(range(sum(sizes)))
    return Cores(tuple(tuple(next(numbers) for _ in range(size)) for size in sizes), len(sizes))


def test_slots_get_whole_cores_side_by_side() -> None:
    cores = Cores(PAIRS, 4)
    assert cores.shares(2) == [(0, 1, 4, 5), (2, 3, 6, 7)]
    assert cores.shares(3) == [(0, 1, 4, 5), (2, 6), (3, 7)]
    assert [cores.num_threads(slots) for slots in (1, 2, 3, 4, 9)] == [4, 2, 1, 1, 1]


def test_more_slots_than_cores_take_the_cpus_in_turn_one_of_each_core_first() -> None:
    assert Cores(((0, 4), (1, 5)), 2).shares(5) == [(0,), (1,), (4,), (5,), (0,)]


def test_one_slot_may_use_all_that_there_is() -> None:
    assert Cores(PAIRS, 4).shares(1) == [()]


def test_nothing_is_bound_where_others_have_a_part_of_the_same_cores() -> None:
    cores = Cores(PAIRS, 2)
    assert cores.shares(2) == [(), ()]
    assert cores.num_threads(2) == 1


@given(machines(), st.integers(2, 12))
def test_no_core_is_shared_while_there_are_enough_and_none_is_left_over(cores: Cores, num_slots: int) -> None:
    shares = cores.shares(num_slots)
    assert len(shares) == num_slots
    assert all(shares)
    used = [cpu for share in shares for cpu in share]
    if num_slots <= len(cores.cpus):
        assert sorted(used) == sorted(cpu for core in cores.cpus for cpu in core)
        sizes = [sum(core[0] in share for core in cores.cpus) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert cores.num_threads(num_slots) == min(sizes)
    else:
        assert max(map(used.count, used)) - min(map(used.count, used)) <= 1


def machine(folder: Path, *, sockets: dict[int, int], siblings: dict[int, str]) -> Path:
    for cpu, socket in sockets.items():
        topology = folder / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{socket}\n")
        (topology / "thread_siblings_list").write_text(f"{siblings[cpu]}\n")
    return folder


def test_cores_of_one_socket_follow_each_other_and_siblings_are_one_core(tmp_path: Path) -> None:
    siblings = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2,6", 6: "2,6", 3: "3", 7: "7"}
    sockets = {cpu: cpu % 2 for cpu in siblings}
    cpus = machine(tmp_path / "cpus", sockets=sockets, siblings=siblings)
    found = find_cores(allowed=range(7), cpus=cpus, cgroup=tmp_path)
    assert found == Cores(((0, 4), (2, 6), (1, 5), (3,)), 4)


@pytest.mark.parametrize(
    ("files", "num"),
    [
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "unreadable"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({}, 8),
    ],
)
def test_the_quota_of_a_container_counts(files: dict[str, str], num: int, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    cores = find_cores(allowed=range(8), cpus=tmp_path, cgroup=tmp_path)
    assert (cores.num, cores.is_limited) == (num, num < 8)
    assert find_cores(3, allowed=range(8), cpus=tmp_path, cgroup=tmp_path).num == max(1, num // 3)


def test_a_machine_that_tells_nothing_of_its_cores_has_one_for_each_cpu(tmp_path: Path) -> None:
    cores = find_cores(cpus=tmp_path, cgroup=tmp_path)
    assert all(len(core) == 1 for core in cores.cpus)
    assert cores.num == len(cores.cpus) >= 1


def test_whoever_sets_omp_num_threads_means_every_library() -> None:
    own = {**thread_variables(2), "CUDA_VISIBLE_DEVICES": "0"}
    assert without_overruled(own, {"OMP_NUM_THREADS": "8"}) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert set(without_overruled(own, {"OMP_NUM_THREADS": "2"})) == set(own) - {"OMP_NUM_THREADS"}
    assert set(without_overruled(own, {"MKL_NUM_THREADS": "8"})) == set(own) - {"MKL_NUM_THREADS"}
    assert without_overruled(own, {"CUDA_VISIBLE_DEVICES": "1"}) == own
    assert set(thread_variables(3)) == set(THREAD_VARIABLES)


@needs_affinity
def test_what_is_started_while_pinned_stays_on_its_cpus_and_this_thread_does_not() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    with pinned((one,)):
        child = subprocess.Popen(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], stdout=subprocess.PIPE, text=True
        )
    assert os.sched_getaffinity(0) == before
    assert child.communicate()[0] == f"{{{one}}}\n"


@needs_affinity
def test_cpus_that_are_not_to_be_had_change_nothing() -> None:
    before = os.sched_getaffinity(0)
    with pinned((max(before) + 100_000,)):
        assert os.sched_getaffinity(0) == before
    with pinned(()):
        assert os.sched_getaffinity(0) == before
