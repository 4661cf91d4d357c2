"""When schedules are due, against times written by hand, through a year with all its changes of the clock."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import count, islice, pairwise, repeat
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.schedules import (
    MAX_CATCH_UP,
    MAX_COUNTED,
    Calendar,
    CatchUp,
    Cron,
    Every,
    Missed,
    Plan,
    Span,
    Trigger,
    Unit,
    due_times,
    instant,
    latest,
    plan,
    plan_over,
)

BERLIN = "Europe/Berlin"  # 2026: forward on 29 March at 02:00, back on 25 October at 03:00
SANTIAGO = "America/Santiago"  # 2026: back on 5 April at 00:00 (to 23:00), forward on 6 September at 00:00
LORD_HOWE = "Australia/Lord_Howe"  # 2026: back half an hour on 5 April at 02:00, forward on 4 October at 02:00


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


START = at("2026-01-01T00:00:00")
LONG_BEFORE = at("2025-12-01T00:00:00")


def times(trigger: Trigger, after: str, num: int, *, anchor: datetime = START) -> list[str]:
    found = islice(due_times(trigger, anchor=anchor, after=at(after)), num)
    return [due.isoformat()[:16] for due in found]


def calendar(zone: str, *moments: time) -> Trigger:
    return Trigger(Calendar(Unit.DAY, 1, zone, moments))


def cron(expression: str, zone: str = "UTC") -> Trigger:
    return Trigger(Cron(expression, zone))


@pytest.mark.parametrize("trigger", [cron("30 2 * * *", BERLIN), calendar(BERLIN, time(2, 30))])
def test_a_time_that_is_left_out_is_due_once_right_after_the_gap(trigger: Trigger) -> None:
    assert times(trigger, "2026-03-28T00:00", 3) == ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]


@pytest.mark.parametrize("trigger", [cron("30 2 * * *", BERLIN), calendar(BERLIN, time(2, 30))])
@pytest.mark.parametrize("after", ["2026-10-25T00:30", "2026-10-25T01:10", "2026-10-25T01:30", "2026-10-25T02:00"])
def test_a_time_that_comes_twice_is_due_the_first_time_only(trigger: Trigger, after: str) -> None:
    assert times(trigger, "2026-10-24T12:00", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]
    assert times(trigger, after, 1) == ["2026-10-26T01:30"]


@pytest.mark.parametrize("trigger", [cron("15,45 2 * * *", BERLIN), calendar(BERLIN, time(2, 15), time(2, 45))])
def test_several_times_in_a_gap_are_due_together_once(trigger: Trigger) -> None:
    assert times(trigger, "2026-03-28T12:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:15"]


@pytest.mark.parametrize("trigger", [cron("30 2,3 * * *", BERLIN), calendar(BERLIN, time(2, 30), time(3))])
def test_what_is_due_right_after_a_gap_anyway_is_not_due_twice(trigger: Trigger) -> None:
    assert times(trigger, "2026-03-28T12:00", 1) == ["2026-03-29T01:00"]
    assert times(trigger, "2026-03-29T01:00", 1)[0] > "2026-03-29T01:00"


@pytest.mark.parametrize("trigger", [cron("15 2 * * *", LORD_HOWE), calendar(LORD_HOWE, time(2, 15))])
def test_a_gap_of_half_an_hour_moves_a_time_to_its_end(trigger: Trigger) -> None:
    assert times(trigger, "2026-10-02T16:00", 2) == ["2026-10-03T15:30", "2026-10-04T15:15"]


@pytest.mark.parametrize("trigger", [cron("45 1 * * *", LORD_HOWE), calendar(LORD_HOWE, time(1, 45))])
def test_half_an_hour_that_comes_twice_counts_once(trigger: Trigger) -> None:
    assert times(trigger, "2026-04-03T15:00", 2) == ["2026-04-04T14:45", "2026-04-05T15:15"]


@pytest.mark.parametrize("trigger", [cron("30 0 * * *", SANTIAGO), calendar(SANTIAGO, time(0, 30))])
def test_a_midnight_that_is_left_out_is_due_at_one_of_the_same_day(trigger: Trigger) -> None:
    assert times(trigger, "2026-09-05T12:00", 2) == ["2026-09-06T04:00", "2026-09-07T03:30"]


@pytest.mark.parametrize("trigger", [cron("*/15 * * * *", BERLIN), Trigger(Every(900))])
@pytest.mark.parametrize("change", ["2026-03-29T01:00", "2026-10-25T00:00", "2026-10-25T01:00"])
def test_quarters_of_an_hour_keep_their_rhythm_through_both_changes(trigger: Trigger, change: str) -> None:
    before = at(change) - timedelta(hours=2)
    found = [*due_times(trigger, anchor=START, after=before, until=before + timedelta(hours=4))]
    assert found == [before + timedelta(minutes=15 * number) for number in range(1, 17)]


def test_a_star_of_minutes_follows_the_clock_on_the_wall() -> None:
    assert times(cron("*/20 2 * * *", BERLIN), "2026-03-28T12:00", 1) == ["2026-03-30T00:00"]
    both = ["00:00", "00:20", "00:40", "01:00", "01:20", "01:40"]
    assert times(cron("*/20 2 * * *", BERLIN), "2026-10-24T12:00", 6) == [f"2026-10-25T{clock}" for clock in both]


LORD_HOWE_OFFSETS = [  # minutes ahead of UTC, from a moment on
    (START, 11 * 60),
    (at("2026-04-04T15:00"), 10 * 60 + 30),
    (at("2026-10-03T15:30"), 11 * 60),
]


def shown_on_the_wall() -> Iterator[tuple[datetime, datetime]]:
    """Each fifth minute of 2026, with what a clock on Lord Howe shows then."""
    ends = [*(since for since, _ in LORD_HOWE_OFFSETS[1:]), at("2027-01-01T00:00")]
    for (moment, minutes), end in zip(LORD_HOWE_OFFSETS, ends, strict=True):
        while moment < end:
            yield moment, moment + timedelta(minutes=minutes)
            moment += timedelta(minutes=5)


WALL = [*shown_on_the_wall()]


@pytest.mark.parametrize(
    ("expression", "minutes", "hours"),
    [
        ("*/15 2 * * *", {0, 15, 30, 45}, {2}),
        ("*/15 * * * *", {0, 15, 30, 45}, {*range(24)}),
        ("*/30 1 * * *", {0, 30}, {1}),
        ("0 */2 * * *", {0}, {*range(0, 24, 2)}),
        ("10 */3 * * *", {10}, {*range(0, 24, 3)}),
        ("*/5 1-2 * * *", {*range(0, 60, 5)}, {1, 2}),
    ],
)
def test_a_year_of_a_star_is_what_a_clock_shows_that_is_put_back_and_forward_half_an_hour(
    expression: str, minutes: set[int], hours: set[int]
) -> None:
    wanted = [moment for moment, wall in WALL if wall.minute in minutes and wall.hour in hours]
    found = due_times(cron(expression, LORD_HOWE), anchor=LONG_BEFORE, after=START - timedelta(seconds=1))
    assert [*islice(found, len(wanted))] == wanted


@pytest.mark.parametrize("expression", ["*/15 2 * * *", "10 */3 * * *", "*/5 * * * *"])
def test_a_star_goes_on_right_from_any_moment_around_a_change(expression: str) -> None:
    for change, _ in LORD_HOWE_OFFSETS[1:]:
        end = change + timedelta(hours=12)
        whole = [*due_times(cron(expression, LORD_HOWE), anchor=START, after=change - timedelta(hours=9), until=end)]
        for number in range(-12, 13):
            after = change + timedelta(minutes=number * 10)
            found = [*due_times(cron(expression, LORD_HOWE), anchor=START, after=after, until=end)]
            assert found == [due for due in whole if due > after]


def test_with_two_triggers_one_after_the_other_each_counts_in_its_own_time() -> None:
    change, now = at("2026-01-02T06:40"), at("2026-01-02T08:40")
    spans = (
        Span(cron("0 * * * *"), START, at("2026-01-02T04:30"), change),
        Span(cron("*/30 * * * *"), START, change, now),
    )
    made = {policy: plan_over(spans, now=now, catch_up=policy) for policy in CatchUp}
    dues = [at(f"2026-01-02T{clock}") for clock in ("05:00", "06:00", "07:00", "07:30", "08:00", "08:30")]
    assert made[CatchUp.ALL] == Plan(tuple(dues))
    assert made[CatchUp.LATEST] == Plan((dues[-1],), Missed(dues[0], dues[-2], 5))
    assert made[CatchUp.NONE] == Plan((), Missed(dues[0], dues[-1], 6))
    assert plan_over(spans[:1], now=now, catch_up=CatchUp.ALL) == Plan(tuple(dues[:2]))
    assert plan_over((), now=now, catch_up=CatchUp.ALL) == Plan()


def by_hand(offsets: list[tuple[str, float]], local: str) -> list[datetime]:
    """One time of day each day of 2026, from offsets of the zone that hold from a date on."""
    found = []
    day = datetime(2026, 1, 1, tzinfo=UTC).date()
    while day.year == 2026:
        offset_h = [hours for since, hours in offsets if since <= day.isoformat()][-1]
        naive = datetime.fromisoformat(f"{day.isoformat()}T{local}").replace(tzinfo=UTC)
        found.append(naive - timedelta(hours=offset_h))
        day += timedelta(days=1)
    return found


YEARS = [
    # A date has the offset that holds at the time of day that is asked for; exceptions stand beside it.
    (BERLIN, "02:30", [("2026-01-01", 1), ("2026-03-30", 2), ("2026-10-26", 1)], {"2026-03-29": "2026-03-29T01:00"}),
    (SANTIAGO, "23:30", [("2026-01-01", -3), ("2026-04-05", -4), ("2026-09-06", -3)], {}),
    (LORD_HOWE, "02:15", [("2026-01-01", 11), ("2026-04-05", 10.5), ("2026-10-05", 11)], {}),
    ("UTC", "02:30", [("2026-01-01", 0)], {}),
]


def expected(zone: str, local: str, offsets: list[tuple[str, float]], exceptions: dict[str, str]) -> list[datetime]:
    found = by_hand(offsets, local)
    if zone == LORD_HOWE:
        exceptions = {"2026-10-04": "2026-10-03T15:30"}
    if zone == BERLIN:
        exceptions = {**exceptions, "2026-10-25": "2026-10-25T00:30"}
    for day, moment in exceptions.items():
        found[(datetime.fromisoformat(day) - datetime(2026, 1, 1)).days] = at(moment)  # noqa: DTZ001  # a date
    return found


@pytest.mark.parametrize(("zone", "local", "offsets", "exceptions"), YEARS)
@pytest.mark.parametrize("kind", ["cron", "calendar"])
def test_a_clock_driven_through_a_year_gives_each_day_one_job(
    zone: str, local: str, offsets: list[tuple[str, float]], exceptions: dict[str, str], kind: str
) -> None:
    hour, minute = int(local[:2]), int(local[3:])
    trigger = cron(f"{minute} {hour} * * *", zone) if kind == "cron" else calendar(zone, time(hour, minute))
    wanted = expected(zone, local, offsets, exceptions)
    ran, num_missed = driven(trigger, wanted, CatchUp.LATEST, repeat(1))
    assert ran == wanted
    assert num_missed == 0


def driven(
    trigger: Trigger, wanted: list[datetime], policy: CatchUp, waits: Iterable[int]
) -> tuple[list[datetime], int]:
    """Drives the timer from before the first due time to after the last; returns what ran and how many were missed.

    Args:
        trigger: of the schedule.
        wanted: every due time, by hand.
        policy: what becomes of missed ones.
        waits: minutes from one look to the next.
    """
    now = until = wanted[0] - timedelta(hours=2)
    next_due = next(due_times(trigger, anchor=LONG_BEFORE, after=until))
    ran: list[datetime] = []
    num_missed = 0
    for minutes in waits:
        now += timedelta(minutes=minutes)
        # As the step does: it asks for a plan only when the next due time has come.
        if next_due <= now:
            made = plan(trigger, anchor=LONG_BEFORE, after=until, now=now, catch_up=policy)
            ran += made.run
            num_missed += made.missed.num if made.missed else 0
            until = max([*made.run, *([made.missed.last] if made.missed else [])])
            next_due = next(due_times(trigger, anchor=LONG_BEFORE, after=until))
        if now >= wanted[-1]:
            break
    return [due for due in ran if due <= wanted[-1]], num_missed


def absences() -> Iterator[int]:
    """Minutes from one look to the next: mostly one, now and then the functions are away for hours or days."""
    for number in count(1):
        yield 1 if number % 700 else (90 if number % 1400 else 60 * 24 * 3)


@pytest.mark.parametrize(("zone", "local", "offsets", "exceptions"), YEARS)
def test_with_all_no_day_of_the_year_is_lost_whenever_the_timer_is_away(
    zone: str, local: str, offsets: list[tuple[str, float]], exceptions: dict[str, str]
) -> None:
    trigger = calendar(zone, time(int(local[:2]), int(local[3:])))
    wanted = expected(zone, local, offsets, exceptions)
    runs, missed = {}, {}
    for policy in CatchUp:
        runs[policy], missed[policy] = driven(trigger, wanted, policy, absences())
    assert runs[CatchUp.ALL] == wanted
    assert set(runs[CatchUp.NONE]) < set(runs[CatchUp.LATEST]) < set(wanted)
    assert missed[CatchUp.ALL] == 0
    assert 0 < missed[CatchUp.LATEST] < missed[CatchUp.NONE]


MINUTELY = cron("* * * * *")


def test_of_a_year_of_minutes_away_all_makes_up_a_hundred_and_says_what_was_given_up() -> None:
    now = at("2027-01-01T00:00:30")
    made = plan(MINUTELY, anchor=START, after=START, now=now, catch_up=CatchUp.ALL)
    assert len(made.run) == MAX_CATCH_UP + 5  # five are not late yet
    assert made.run[-1] == at("2027-01-01T00:00:00")
    assert made.missed == Missed(at("2026-01-01T00:01"), made.run[0] - timedelta(minutes=1), MAX_COUNTED)


@pytest.mark.parametrize(
    ("policy", "run", "num_missed"),
    [(CatchUp.LATEST, ["08:00"], 3), (CatchUp.NONE, [], 4), (CatchUp.ALL, ["05:00", "06:00", "07:00", "08:00"], 0)],
)
def test_each_policy_makes_up_for_what_it_says(policy: CatchUp, run: list[str], num_missed: int) -> None:
    made = plan(
        cron("0 * * * *"), anchor=START, after=at("2026-01-02T04:30"), now=at("2026-01-02T08:40"), catch_up=policy
    )
    assert [due.isoformat()[11:16] for due in made.run] == run
    assert (made.missed.num if made.missed else 0) == num_missed


@pytest.mark.parametrize("policy", [CatchUp.LATEST, CatchUp.NONE, CatchUp.ALL])
def test_a_due_time_of_less_than_five_minutes_ago_is_not_missed(policy: CatchUp) -> None:
    made = plan(
        cron("0 * * * *"), anchor=START, after=at("2026-01-02T07:30"), now=at("2026-01-02T08:04"), catch_up=policy
    )
    assert made.run == (at("2026-01-02T08:00"),)
    assert made.missed is None


def test_latest_runs_one_job_when_others_came_since_the_missed_one() -> None:
    now = at("2026-01-02T08:00:20")
    made = plan(MINUTELY, anchor=START, after=at("2026-01-02T07:00"), now=now, catch_up=CatchUp.LATEST)
    assert made.run == (at("2026-01-02T08:00"),)
    assert made.missed == Missed(at("2026-01-02T07:01"), at("2026-01-02T07:59"), 59)


@pytest.mark.parametrize(
    ("rhythm", "first"),
    [
        (
            Calendar(Unit.WEEK, 2, "UTC", (time(4),), (0, 4)),
            ["2026-01-02T04:00", "2026-01-12T04:00", "2026-01-16T04:00"],
        ),
        (
            Calendar(Unit.MONTH, 1, "UTC", (time(4),), (), (1, 31)),
            ["2026-01-31T04:00", "2026-02-01T04:00", "2026-03-01T04:00"],
        ),
        (
            Calendar(Unit.MONTH, 3, "UTC", (time(4),), (), (15,)),
            ["2026-01-15T04:00", "2026-04-15T04:00", "2026-07-15T04:00"],
        ),
        (
            Calendar(Unit.MONTH, 1, "UTC", (time(4),), (4,)),
            ["2026-01-02T04:00", "2026-01-09T04:00", "2026-01-16T04:00"],
        ),
        (Calendar(Unit.DAY, 10, "UTC"), ["2026-01-02T03:45", "2026-01-12T03:45", "2026-01-22T03:45"]),
        (Calendar(Unit.MONTH, 1, "UTC"), ["2026-01-02T03:45", "2026-02-02T03:45", "2026-03-02T03:45"]),
        (Every(5400), ["2026-01-02T03:45", "2026-01-02T05:15", "2026-01-02T06:45"]),
    ],
)
def test_a_recurrence_counts_from_its_start(rhythm: Calendar | Every, first: list[str]) -> None:
    start = at("2026-01-02T03:45")  # a Friday
    found = times(Trigger(rhythm, start), "2025-01-01T00:00", 3)
    assert found == first


@pytest.mark.parametrize("rhythm", [Cron("0 * * * *"), Every(3600), Calendar(Unit.DAY, 1, "UTC", (time(5),))])
def test_no_due_time_is_before_the_start_or_after_the_end_and_both_are_meant_too(
    rhythm: Cron | Every | Calendar,
) -> None:
    trigger = Trigger(rhythm, at("2026-01-02T05:00"), at("2026-01-03T05:00"))
    found = [*due_times(trigger, anchor=START, after=START)]
    assert (found[0], found[-1]) == (trigger.start, trigger.end)


FAR = [
    Trigger(Cron("* * * * *", BERLIN), at("9000-12-31T00:00")),
    Trigger(Calendar(Unit.DAY, 1_000_000, BERLIN)),
    Trigger(Calendar(Unit.WEEK, 1_000_000, BERLIN, (time(1),))),
    Trigger(Calendar(Unit.MONTH, 1_000_000, BERLIN, (time(1),))),
    Trigger(Every(3_600_000_000)),
    Trigger(Calendar(Unit.MONTH, 12, "UTC", (time(1),), (), (30,)), at("2026-02-01T00:00")),
    Trigger(Cron("0 0 * 2 MON#5", BERLIN)),
]


@pytest.mark.parametrize("trigger", FAR)
def test_what_comes_hardly_ever_or_never_ends_soon(trigger: Trigger) -> None:
    assert len([*islice(due_times(trigger, anchor=START, after=START), 3)]) <= 3
    assert [*due_times(trigger, anchor=START, after=at("9999-12-31T23:59:59"))] == []


@pytest.mark.parametrize("unit", list(Unit))
def test_a_start_long_ago_costs_no_walk_from_there(unit: Unit) -> None:
    trigger = Trigger(Calendar(unit, 1, "UTC", (time(5),)), at("1970-01-01T00:00"))
    began_s = process_time()
    assert len(times(trigger, "8999-01-01T00:00", 50)) == 50
    assert process_time() - began_s < 0.5  # two and a half million days take seconds


ZONES = st.sampled_from([BERLIN, SANTIAGO, LORD_HOWE, "UTC", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia"])
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001  # hypothesis wants them so
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)
RHYTHMS = (
    st.builds(
        Cron, st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 */5 * * MON", "*/20 1-2 * * *"]), ZONES
    )
    | st.builds(Every, st.integers(60, 200_000))
    | st.builds(
        Calendar,
        st.sampled_from(list(Unit)),
        st.integers(1, 5),
        ZONES,
        st.lists(st.times(), max_size=3, unique=True).map(
            lambda found: tuple(sorted({moment.replace(second=0, microsecond=0) for moment in found}))
        ),
    )
)


@settings(max_examples=150, deadline=None)
@given(RHYTHMS, MOMENTS, st.integers(0, 10_000_000), st.lists(st.integers(0, 4_000_000), max_size=4))
def test_wherever_a_look_begins_the_due_times_are_the_same(
    rhythm: Cron | Every | Calendar, start: datetime, later_s: int, cuts_s: list[int]
) -> None:
    trigger = Trigger(rhythm, start)
    begin = start + timedelta(seconds=later_s)
    end = begin + timedelta(days=20)
    whole = [*due_times(trigger, anchor=start, after=begin, until=end)]
    assert whole == sorted(set(whole))
    edges = sorted({begin, end, *(min(end, begin + timedelta(seconds=cut)) for cut in cuts_s)})
    parts = [due for low, high in pairwise(edges) for due in due_times(trigger, anchor=start, after=low, until=high)]
    assert parts == whole
    assert latest(trigger, anchor=start, after=begin, until=end, num=5) == tuple(whole[-5:])


@settings(deadline=None)
@given(st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)), ZONES)  # noqa: DTZ001  # hypothesis wants them so
def test_a_clock_on_a_wall_shows_its_time_or_is_past_it_by_the_gap(local: datetime, name: str) -> None:
    local, zone = local.replace(microsecond=0), ZoneInfo(name)
    shown = instant(local, zone).astimezone(zone).replace(tzinfo=None)
    assert shown == local or local < shown <= local + timedelta(days=1)
