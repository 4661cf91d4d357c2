"""The search space: the ten kinds of parameter, with Azure ML's names and meanings, and how to sample them."""

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

MAX_TEXT_LENGTH: Final = 4096
"""Characters of one text value; values travel in environment variables and command lines, which are bounded."""
MAX_INTEGER: Final = 2**53
"""Beyond it a JSON reader may not keep a whole number exactly."""
MAX_EXPONENT: Final = 700.0
"""exp(700) is 1e304, close to the largest float."""
MAX_DEVIATIONS: Final = 8.3
"""No draw of a normal lies further from its mean, in standard deviations: the smallest probability drawn is 2^-53."""
CUSTOM_ERROR: Final = "dropsweep_rule"
"""pydantic's type of the errors that carry their own `rule` and `remedy`."""


def refusal(rule: str, remedy: str) -> PydanticCustomError:
    """Returns the error to raise in a validator; `rule` and `remedy` become those of a `Problem`."""
    return PydanticCustomError(CUSTOM_ERROR, "{rule}. {remedy}", {"rule": rule, "remedy": remedy})


def number_text(number: float) -> str:
    """Returns a number with all of its digits, and without `.0`: 9007199254740992, 0.1, 1e+300."""
    return str(number).removesuffix(".0")


def _check_scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float):
        raise refusal(
            "must be a single value: text, a number, true, false or null",
            'Write one value, or join several in one text such as "64,64"',
        )
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        raise refusal(
            f"must have at most {MAX_TEXT_LENGTH} characters", "Put the text in a file and name the file instead"
        )
    return value


JsonScalar: TypeAlias = str | int | float | bool | None

Scalar = Annotated[str | bool | int | float | None, BeforeValidator(_check_scalar)]
"""One JSON value that is neither list nor mapping; kept with its type, so that 1, 1.0 and true stay three values."""


class ParameterBase(BaseModel):
    """What all kinds of parameter share: no other keys, no conversion between types, no NaN, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Range(ParameterBase):
    min_value: float = Field(description="Lower bound, included.")
    max_value: float = Field(description="Upper bound, included.")

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.min_value < self.max_value:
            low, high = number_text(self.min_value), number_text(self.max_value)
            raise refusal(
                f"min_value ({low}) must be less than max_value ({high})",
                "Exchange or correct the two; for one fixed value use `type: choice`",
            )
        return self

    def _check_exponents(self, limit: float) -> None:
        if max(abs(self.min_value), abs(self.max_value)) > limit:
            raise refusal(
                f"the bounds are exponents of e and must lie between -{limit:g} and {limit:g}",
                "Write the natural logarithms of the bounds that you mean: for 0.0001 to 0.1 write -9.21 and -2.30",
            )


class _Normal(ParameterBase):
    mu: float = Field(description="Mean of the normal distribution.")
    sigma: float = Field(gt=0, description="Standard deviation of the normal distribution.")

    def _check_reach(self, limit: float, what: str) -> None:
        if not abs(self.mu) + MAX_DEVIATIONS * self.sigma <= limit:
            raise refusal(
                f"{what} must stay within ±{limit:g} for {MAX_DEVIATIONS:g} standard deviations around mu",
                "Choose a smaller sigma, or a mu nearer to zero",
            )


class _Quantised(ParameterBase):
    q: int | float = Field(gt=0, description="Values are rounded to multiples of it.")

    def _check_values(self, largest: float) -> None:
        if not largest <= MAX_INTEGER * self.q or largest > MAX_INTEGER:
            raise refusal(
                f"values, and values divided by q, must stay within ±{MAX_INTEGER}",
                "Choose narrower bounds or a larger q",
            )


class RandInt(ParameterBase):
    """A whole number, uniform in [0, upper)."""

    type: Literal["randint"]
    upper: int = Field(ge=1, le=MAX_INTEGER, description="Upper bound, excluded.")


class Uniform(_Range):
    """Uniform in [min_value, max_value]."""

    type: Literal["uniform"]


class QUniform(_Range, _Quantised):
    """round(uniform(min_value, max_value) / q) * q."""

    type: Literal["quniform"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_values(max(abs(self.min_value), abs(self.max_value)))
        return self


class LogUniform(_Range):
    """exp(uniform(min_value, max_value)): the bounds are exponents."""

    type: Literal["loguniform"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_exponents(MAX_EXPONENT)
        return self


class QLogUniform(_Range, _Quantised):
    """round(exp(uniform(min_value, max_value)) / q) * q: the bounds are exponents."""

    type: Literal["qloguniform"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_exponents(MAX_EXPONENT)
        self._check_values(math.exp(self.max_value))
        return self


class Normal(_Normal):
    """Normal with mean mu and standard deviation sigma."""

    type: Literal["normal"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_reach(1e300, "values")
        return self


class QNormal(_Normal, _Quantised):
    """round(normal(mu, sigma) / q) * q."""

    type: Literal["qnormal"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_values(abs(self.mu) + MAX_DEVIATIONS * self.sigma)
        return self


class LogNormal(_Normal):
    """exp(normal(mu, sigma))."""

    type: Literal["lognormal"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_reach(MAX_EXPONENT, "exponents")
        return self


class QLogNormal(_Normal, _Quantised):
    """round(exp(normal(mu, sigma)) / q) * q."""

    type: Literal["qlognormal"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_reach(MAX_EXPONENT, "exponents")
        self._check_values(math.exp(self.mu + MAX_DEVIATIONS * self.sigma))
        return self


PARAMETER_TYPES: Final = (
    "choice",
    "randint",
    "uniform",
    "quniform",
    "loguniform",
    "qloguniform",
    "normal",
    "qnormal",
    "lognormal",
    "qlognormal",
)


def _item_tag(value: Any) -> str:
    return "mapping" if isinstance(value, dict) else "value"


def _nested_tag(value: Any) -> str:
    return "parameter" if isinstance(value, dict | ParameterBase) else "value"


def _check_mapping(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in PARAMETER_TYPES:
        raise refusal(
            "a parameter inside a choice needs a name of its own",
            f"Write it under a key, such as {{my_name: {{type: {value['type']}, …}}}}",
        )
    return value


Nested = Annotated[
    Annotated[Scalar, Tag("value")] | Annotated["Parameter", Tag("parameter")], Discriminator(_nested_tag)
]
"""What stands under a key of a choice's mapping: a constant, or a parameter of its own."""
Mapped = Annotated[dict[str, Nested], BeforeValidator(_check_mapping)]
Item = Annotated[Annotated[Scalar, Tag("value")] | Annotated[Mapped, Tag("mapping")], Discriminator(_item_tag)]


class Choice(ParameterBase):
    """One of the listed values; a value that is a mapping may hold parameters of its own, drawn when it is chosen."""

    type: Literal["choice"]
    values: tuple[Item, ...] = Field(min_length=1, strict=False, description="What to choose from.")


Parameter = Annotated[
    Choice | RandInt | Uniform | QUniform | LogUniform | QLogUniform | Normal | QNormal | LogNormal | QLogNormal,
    Field(discriminator="type"),
]
"""One of the ten kinds, told apart by `type`."""
Choice.model_rebuild()

Space: TypeAlias = Mapping[str, Parameter]
"""A whole search space, in the order of the file."""
PARAMETER_MODELS: Final[dict[str, type[BaseModel]]] = {
    "choice": Choice,
    "randint": RandInt,
    "uniform": Uniform,
    "quniform": QUniform,
    "loguniform": LogUniform,
    "qloguniform": QLogUniform,
    "normal": Normal,
    "qnormal": QNormal,
    "lognormal": LogNormal,
    "qlognormal": QLogNormal,
}


class Algorithm(StrEnum):
    """How trial k's parameters follow from k."""

    RANDOM = "random"
    GRID = "grid"


class Rule(StrEnum):
    """Which points random sampling takes."""

    RANDOM = "random"
    SOBOL = "sobol"


class Sampling(BaseModel):
    """All that the parameters of trial k depend on beside the search space and k."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Algorithm
    rule: Rule = Rule.RANDOM
    seed: int


def nested_path(path: str, index: int, key: str) -> str:
    """Returns the path of the parameter under `key` in value number `index` of the choice at `path`."""
    return f"{path}[{index}].{key}"


def leaves(space: Space) -> Iterator[tuple[str, Parameter]]:
    """Yields the path and the model of every parameter, nested ones after the choice that holds them."""
    for name, parameter in space.items():
        yield from _leaves(name, parameter)


def _leaves(path: str, parameter: Parameter) -> Iterator[tuple[str, Parameter]]:
    yield path, parameter
    if isinstance(parameter, Choice):
        for index, item in enumerate(parameter.values):
            if isinstance(item, dict):
                for key, nested in item.items():
                    if isinstance(nested, ParameterBase):
                        yield from _leaves(nested_path(path, index, key), nested)
