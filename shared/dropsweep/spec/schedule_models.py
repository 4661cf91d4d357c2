"""The schedule file's shape: Azure ML's CLI v2 schedule, key by key, and what is added to it."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from dropsweep.schedules import CatchUp, Overlap
from dropsweep.search.space import Scalar
from dropsweep.spec.models import Anything, Shape

MAX_INTERVAL: Final = 1_000_000
MAX_EXPRESSION_LENGTH: Final = 200
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Hour = Annotated[int, Field(ge=0, le=23)]
Minute = Annotated[int, Field(ge=0, le=59)]
MonthDay = Annotated[int, Field(ge=1, le=31)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class _Trigger(Shape):
    """What both kinds of trigger have."""

    start_time: str | None = Field(default=None, description="ISO 8601; default: when the file was dropped.")
    end_time: str | None = Field(default=None, description="ISO 8601; default: none.")
    time_zone: str = Field(default="UTC", description="An IANA name, or one of Windows as Azure ML writes them.")


class CronTrigger(_Trigger):
    """Due times by a cron expression."""

    type: Literal["cron"]
    expression: str = Field(
        min_length=1,
        description="Five fields: minute, hour, day of the month, month, day of the week.",
        json_schema_extra={"maxLength": MAX_EXPRESSION_LENGTH},  # the reader tells the whole rule
    )


class RecurrencePattern(Shape):
    """Times of day, and days, of a recurrence by days, weeks or months."""

    hours: Hour | list[Hour] = Field(description="Each is combined with each of `minutes`.")
    minutes: Minute | list[Minute]
    week_days: Weekday | list[Weekday] | None = Field(default=None, description="With frequency week or month.")
    month_days: MonthDay | list[MonthDay] | None = Field(default=None, description="With frequency month.")


class PatternLists(RecurrencePattern):
    """The same with lists only: the reader makes one of a single value, so that a wrong one is told once."""

    hours: list[Hour]
    minutes: list[Minute]
    week_days: list[Weekday] | None = None
    month_days: list[MonthDay] | None = None


class RecurrenceTrigger(_Trigger):
    """Due times each so many minutes, hours, days, weeks or months."""

    type: Literal["recurrence"]
    frequency: Literal["minute", "hour", "day", "week", "month"]
    interval: int = Field(ge=1, le=MAX_INTERVAL)
    schedule: RecurrencePattern | None = Field(default=None, description="Default: the time and day of the start.")


class ScheduleFile(Shape):
    """A schedule: when a job is due, and which."""

    schema_: Anything = Field(default=None, alias="$schema", description="For editors; not looked at.")
    name: str | None = Field(default=None, description="The file's name; another one is warned about.")
    version: Anything = Field(default=None, description="Has no effect: a file's latest content counts.")
    display_name: str | None = None
    description: str | None = None
    tags: dict[str, Scalar] | None = None
    properties: Anything = Field(default=None, description="Has no effect.")
    is_enabled: bool = Field(default=True, description="false: no due time becomes a job.")
    catch_up: CatchUp = Field(default=CatchUp.LATEST, description="An extension. Which missed due times become jobs.")
    overlap: Overlap = Field(
        default=Overlap.ALLOW, description="An extension. What happens while an earlier job of the schedule is live."
    )
    trigger: Annotated[CronTrigger | RecurrenceTrigger, Field(discriminator="type")]
    create_job: str | dict[str, Any] = Field(
        description="A job file, or the path of one in a container, or `job: {path}` with keys that replace its own."
    )


class Head(ScheduleFile):
    """A schedule file without its two parts, which are read one by one so that each problem is told once."""

    catch_up: str = "latest"  # type: ignore[assignment]
    overlap: str = "allow"  # type: ignore[assignment]
    trigger: Any = None
    create_job: Any = None
