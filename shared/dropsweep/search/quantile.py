"""From 64 random bits to a value of each kind of parameter: the inverses of the distribution functions.

Every step gives the same bits on every machine: Python's own `+ - * /` and `math.sqrt` are IEEE 754 operations, each
rounded on its own, and `exp` and `ln` are taken from `decimal`, which rounds them correctly, and not from the machine's
mathematics library, whose last digit differs between systems.
"""

import math
from decimal import Context, Decimal
from typing import Final, assert_never

from dropsweep.search.space import (
    Choice,
    LogNormal,
    LogUniform,
    Normal,
    Parameter,
    QLogNormal,
    QLogUniform,
    QNormal,
    QUniform,
    RandInt,
    Uniform,
)

NUM_BITS: Final = 64
_NUM_UNIT_BITS: Final = 52
_EXACT: Final = Context(prec=30)


def index(bits: int, size: int) -> int:
    """Returns a whole number in [0, size), uniform when the 64 `bits` are.

    No number is likelier than another by more than the factor 1 + size / 2^64.
    """
    return (bits * size) >> NUM_BITS


def unit(bits: int) -> float:
    """Returns (b + 1/2) / 2^52 for the first 52 of the 64 `bits`: exact, and inside (0, 1)."""
    return ((bits >> (NUM_BITS - _NUM_UNIT_BITS)) + 0.5) / 2.0**_NUM_UNIT_BITS


def rounded(value: float) -> float:
    """Returns `value` to 12 significant digits, which read well and are finer than any training notices."""
    return float(f"{value:.12g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def draw(parameter: Parameter, bits: int) -> int | float:
    """Returns the value of a parameter other than a choice for 64 bits; never outside its distribution's support.

    Args:
        parameter: the distribution, named as in Azure ML.
        bits: 64 bits; equal bits give equal values, and values never fall as bits rise.
    """
    match parameter:
        case RandInt():
            return index(bits, parameter.upper)
        case Uniform():
            return min(max(rounded(_uniform(parameter, bits)), parameter.min_value), parameter.max_value)
        case QUniform():
            return _quantised(_uniform(parameter, bits), parameter.q)
        case LogUniform():
            return rounded(_exp(_uniform(parameter, bits)))
        case QLogUniform():
            return _quantised(_exp(_uniform(parameter, bits)), parameter.q)
        case Normal():
            return rounded(_normal(parameter, bits))
        case QNormal():
            return _quantised(_normal(parameter, bits), parameter.q)
        case LogNormal():
            return rounded(_exp(_normal(parameter, bits)))
        case QLogNormal():
            return _quantised(_exp(_normal(parameter, bits)), parameter.q)
        case Choice():
            raise TypeError("a choice has no distribution function; its value is taken by index")
        case _ as never:
            assert_never(never)


def _uniform(parameter: Uniform | QUniform | LogUniform | QLogUniform, bits: int) -> float:
    u = unit(bits)
    between = parameter.min_value * (1.0 - u) + parameter.max_value * u  # max - min could overflow
    return min(max(between, parameter.min_value), parameter.max_value)


def _normal(parameter: Normal | QNormal | LogNormal | QLogNormal, bits: int) -> float:
    return parameter.mu + parameter.sigma * standard_normal(unit(bits))


def _exp(exponent: float) -> float:
    return float(_EXACT.exp(Decimal(exponent)))


def _quantised(value: float, q: int | float) -> int | float:
    """Returns round(value / q) * q, a whole number when q is one; halves go to the even multiple, as in NumPy."""
    multiple = round(value / q)
    return multiple * q if isinstance(q, int) else rounded(multiple * q)


def _horner(coefficients: tuple[float, ...], x: float) -> float:
    result = 0.0
    for coefficient in coefficients:
        result = result * x + coefficient
    return result


# fmt: off
_CENTRE: Final = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)
_MIDDLE: Final = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)
_TAIL: Final = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)
# fmt: on


def standard_normal(p: float) -> float:
    """Returns z with P(Z <= z) = p for a standard normal Z; relative error about 1e-15.

    `statistics.NormalDist.inv_cdf` computes the same in C, where compilers for some machines fuse a multiplication with
    an addition and so give another last digit.

    Args:
        p: in (0, 1).

    Source:
        M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37 (1988), 477-484: rational approximations in
        0.180625 - q^2 for |q| <= 0.425 where q = p - 1/2, else in r = sqrt(-ln min(p, 1 - p)), shifted by 1.6 or 5.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * _horner(_CENTRE[0], r) / _horner(_CENTRE[1], r)
    r = math.sqrt(-float(_EXACT.ln(Decimal(p if q < 0 else 1.0 - p))))
    (above, below), shift = (_MIDDLE, 1.6) if r <= 5.0 else (_TAIL, 5.0)
    z = _horner(above, r - shift) / _horner(below, r - shift)
    return -z if q < 0 else z
