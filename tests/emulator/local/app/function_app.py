"""A function app that writes down what its triggers bring, a JSON object a line, in the file that RECORD names."""

import json
import os
import threading
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()
blueprint = func.Blueprint()
_lock = threading.Lock()


def _note(**event):
    with _lock, open(os.environ["RECORD"], "a") as record:
        record.write(json.dumps(event) + "\n")


@blueprint.function_name("on_message")
@blueprint.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="DROPSWEEP_STORAGE")
def on_message(message: func.QueueMessage) -> None:
    body = message.get_body().decode()
    _note(event="began", body=body, dequeue_count=message.dequeue_count, id=message.id, at=time.time())
    if body.startswith("fail"):
        raise RuntimeError(f"told to: {body}")
    while body == "hold" and not Path(os.environ["RECORD"]).with_suffix(".go").exists():
        time.sleep(0.02)
    if body.startswith("sleep"):
        time.sleep(float(body.split()[1]))
    _note(event="ended", body=body, at=time.time())


@blueprint.function_name("on_blob")
@blueprint.blob_trigger(
    arg_name="blob", path="%CONTAINER%/{name}", connection="DROPSWEEP_STORAGE", source=func.BlobSource.EVENT_GRID
)
def on_blob(blob: func.InputStream) -> None:
    text = blob.read().decode()
    _note(
        event="blob", name=blob.name, uri=blob.uri, length=blob.length, text=text, properties=dict(blob.blob_properties)
    )
    if text.startswith("fail"):
        raise RuntimeError(f"told to: {text}")


@blueprint.function_name("on_time")
@blueprint.timer_trigger(arg_name="timer", schedule="* * * * * *", run_on_startup=False)
def on_time(timer: func.TimerRequest) -> None:
    _note(event="tick", past_due=timer.past_due, at=time.time())


@blueprint.function_name("on_request")
@blueprint.route(
    "jobs/{workspace}/{number:int?}",
    trigger_arg_name="request",
    methods=["GET", "POST"],
    auth_level=func.AuthLevel.FUNCTION,
)
def on_request(request: func.HttpRequest) -> func.HttpResponse:
    if request.params.get("fail"):
        raise RuntimeError("told to")
    answer = {"route": dict(request.route_params), "params": dict(request.params), "body": request.get_body().decode()}
    return func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json")


app.register_functions(blueprint)
