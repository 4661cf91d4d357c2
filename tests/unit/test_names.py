import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import DropsweepError
from dropsweep.names import Drop, JobKey, is_cluster, is_name, job_id, suffix, to_name, trial_of_record

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)


@given(st.text(max_size=200))
def test_any_text_becomes_a_legal_name(text: str) -> None:
    assert is_name(to_name(text))


@given(NAMES)
def test_a_legal_name_that_ends_in_a_letter_or_digit_stays_as_it_is(name: str) -> None:
    if name[-1] not in "-_":
        assert to_name(name) == name


@given(NAMES, NAMES, NAMES)
def test_a_job_key_is_read_back_from_its_path(workspace: str, experiment: str, job: str) -> None:
    key = JobKey(workspace, experiment, job)
    assert JobKey.parse(key.path) == key


@pytest.mark.parametrize("path", ["", "a/b", "a/b/c/d", "a//c", "a/../c", "a/b/c d", "a/b/é"])
def test_what_names_no_job_is_refused_with_the_rule(path: str) -> None:
    with pytest.raises(DropsweepError, match="workspace/experiment/job"):
        JobKey.parse(path)


@given(NAMES, st.integers(0, 10**9))
def test_a_trial_number_is_read_back_from_the_path_of_its_record(job: str, trial: int) -> None:
    key = JobKey("w", "e", job)
    assert trial_of_record(key.trial(trial)) == trial
    assert key.trial(trial).startswith(key.shard(trial // 1000))


def test_records_of_one_shard_are_listed_in_the_order_of_their_trials() -> None:
    paths = [JobKey("w", "e", "j").trial(trial) for trial in range(0, 2_000, 7)]
    assert paths == sorted(paths)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_the_same_identity_gives_the_same_id_and_a_legal_one(identity: list[str]) -> None:
    assert suffix(*identity) == suffix(*identity)
    assert is_name(suffix(*identity))
    assert job_id("digits", *identity) == f"digits-{suffix(*identity)}"


def test_another_etag_gives_another_id() -> None:
    ids = {suffix("jobs", "a/b/c.yaml", f"0x{number:x}") for number in range(20_000)}
    assert len(ids) == 20_000


@pytest.mark.parametrize("name", ["a100", "gpu-spot", "0", "x" * 40])
def test_these_name_a_cluster(name: str) -> None:
    assert is_cluster(name)


@pytest.mark.parametrize("name", ["", "A100", "gpu--spot", "-a", "a-", "x" * 41, "a_b", "a.b"])
def test_these_name_no_cluster(name: str) -> None:
    assert not is_cluster(name)


def test_a_well_placed_drop_is_taken_apart() -> None:
    drop = Drop.parse("vision/digits/sweep.v2.yaml")
    assert (drop.workspace, drop.experiment, drop.stem, drop.is_well_placed) == ("vision", "digits", "sweep-v2", True)


@pytest.mark.parametrize("path", ["sweep.yaml", "vision/sweep.yaml", "a/b/c/sweep.yaml", "my team/digits/sweep.yaml"])
def test_a_misplaced_drop_still_gets_names(path: str) -> None:
    drop = Drop.parse(path)
    assert not drop.is_well_placed
    assert is_name(drop.workspace)
    assert is_name(drop.experiment)
    assert is_name(drop.stem)
