"""Loading function_app.py and calling what it declares."""

import asyncio
import importlib.util
import inspect
import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import azure.functions as func

from dropsweep.errors import ConfigError

logger = logging.getLogger(__name__)

TRIGGERS: Final = ("blobTrigger", "queueTrigger", "timerTrigger", "httpTrigger")
"""The bindings that this host listens to."""


@dataclass(frozen=True, slots=True)
class Function:
    """One decorated function.

    Attributes:
        name: its name in the app.
        argument: the name of the parameter that the trigger fills.
        trigger: the trigger binding as in function.json (`type`, `connection`, `path`, `queueName`, ...).
        call: the function itself, as the author wrote it.
    """

    name: str
    argument: str
    trigger: Mapping[str, Any]
    call: Callable[..., Any]


class FunctionFailed(Exception):
    """A function raised; the cause is what it raised. Already logged."""


def load(app: Path) -> list[Function]:
    """Imports `function_app.py` in the folder `app` and indexes it; may be called once a process for one app.

    Raises:
        ConfigError: when there is no app in it, or it declares what this host cannot give.
    """
    path = app / "function_app.py"
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(
            f"{path} is not there: the host loads the app from it. Start in the app's folder or use --app"
        )
    # As the real worker does: the app's folder is where its own imports are looked for.
    sys.path.insert(0, str(app))
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    spec.loader.exec_module(module)
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionApp)]
    if len(apps) != 1:
        raise ConfigError(f"{path} holds {len(apps)} FunctionApp objects: it must hold one. Make it `app`")
    # Indexing the same app twice raises, so this is the only place that does it.
    return [_read(declared) for declared in apps[0].get_functions()]


def _read(declared: Any) -> Function:
    name = str(declared.get_function_name())
    bindings = [binding.get_dict_repr() for binding in declared.get_bindings()]
    triggers = [binding for binding in bindings if binding["type"] in TRIGGERS]
    others = [binding for binding in bindings if binding not in triggers and binding["name"] != "$return"]
    if len(triggers) != 1 or others:
        kinds = ", ".join(str(binding["type"]) for binding in bindings)
        raise ConfigError(
            f"function {name} has the bindings {kinds}: this host gives one trigger, of {', '.join(TRIGGERS)}, "
            "and nothing else. Run the app with Azure Functions Core Tools (`func start`), or drop the binding"
        )
    call = declared.get_user_function()
    if (parameters := set(inspect.signature(call).parameters)) != {triggers[0]["name"]}:
        raise ConfigError(
            f"function {name} takes {sorted(parameters)}: it must take {triggers[0]['name']!r}, "
            "which its trigger fills, and nothing else. Rename the parameter or the trigger's arg_name"
        )
    return Function(name, triggers[0]["name"], triggers[0], call)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="asynchronous functions", daemon=True).start()
    return loop


def invoke(function: Function, value: object, reason: str) -> Any:
    """Calls a function, logs the call as the real host does, and returns what it returned.

    Args:
        function: what to call.
        value: what its trigger brings.
        reason: why it is called, for the log.

    Raises:
        FunctionFailed: when the function raised anything.
    """
    invocation = uuid.uuid4()
    logger.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation)
    started = time.monotonic()
    try:
        result = function.call(**{function.argument: value})
        if inspect.iscoroutine(result):
            # As the real worker does: all asynchronous functions share one event loop.
            result = asyncio.run_coroutine_threadsafe(result, _loop()).result()
    except Exception as error:
        duration_ms = round((time.monotonic() - started) * 1000)
        logger.exception(
            "Executed 'Functions.%s' (Failed, Id=%s, Duration=%dms)", function.name, invocation, duration_ms
        )
        raise FunctionFailed(function.name) from error
    duration_ms = round((time.monotonic() - started) * 1000)
    logger.info("Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%dms)", function.name, invocation, duration_ms)
    return result
