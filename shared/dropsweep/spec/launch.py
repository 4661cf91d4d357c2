"""What a trial's process is started with: its command, filled in, and its environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from dropsweep.errors import StagingError
from dropsweep.spec.expressions import Expression, fill, look_up, to_text
from dropsweep.spec.job import JobSpec, StoredInput

RESERVED_PREFIX: Final = "DROPSWEEP_"
PARAMETER_PREFIX: Final = "DROPSWEEP_PARAM_"
PARAMETERS_VARIABLE: Final = "DROPSWEEP_PARAMS"


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run.

    Attributes:
        command: text for a POSIX shell (`bash -c`, or `sh -c` where there is no bash).
        environment: variables to add to the process's environment.
    """

    command: str
    environment: dict[str, str]


def variable_of(parameter: str) -> str:
    """Returns the environment variable that holds a parameter: upper case, with `_` for `-`."""
    return PARAMETER_PREFIX + parameter.upper().replace("-", "_")


def launch(
    spec: JobSpec, parameters: Mapping[str, JsonValue], *, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Launch:
    """Fills in the command and the environment of one trial; pure.

    Args:
        spec: the job.
        parameters: the trial's, as `spec.parameters(k)` gives them.
        inputs: the local path of each stored input.
        outputs: the local path of each output.

    Raises:
        StagingError: when a path that the command names is not given, or holds the character NUL.
    """

    def value_of(expression: Expression) -> str:
        name = expression.name
        if expression.root == "search_space":
            return to_text(look_up(dict(parameters), expression.parts))
        if expression.root == "outputs":
            return outputs[name]
        literal = spec.inputs[name]
        return inputs[name] if isinstance(literal, StoredInput) else to_text(literal)

    try:
        command = fill(spec.command, value_of)
    except (KeyError, ValueError) as failure:
        raise StagingError(
            f"The command cannot be filled in: {failure}. Check the inputs and outputs of the job"
        ) from failure
    environment = dict(spec.environment_variables)
    environment |= {variable_of(name): to_text(value) for name, value in parameters.items()}
    environment[PARAMETERS_VARIABLE] = json.dumps(dict(parameters), ensure_ascii=False)
    return Launch(command, environment)
