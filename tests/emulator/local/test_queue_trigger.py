"""The host's queue trigger, against the storage emulator."""

import base64
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from azure.functions.queue import QueueMessage
from azure.storage.queue import QueueClient, QueueServiceClient

from local.host.account import REQUEST_LOG
from local.host.config import QueueLimits
from local.host.functions import Function
from local.host.queue import QueueListener
from local.host.server import _Stirring

from .conftest import HostProcess, wait_until

_LONGEST_PAUSE = "extensions__queues__maxPollingInterval"


def _poison(host: HostProcess, connection_string: str) -> QueueClient:
    return QueueClient.from_connection_string(connection_string, f"{host.queue.queue_name}-poison")


def test_a_message_reaches_the_function_once_and_is_deleted(host: HostProcess) -> None:
    sent = host.queue.send_message("hello, Grüße")
    wait_until(lambda: host.events("ended"), "the call")
    wait_until(lambda: not host.messages(host.queue), "the deletion")
    began = host.events("began")
    assert [(event["body"], event["dequeue_count"], event["id"]) for event in began] == [("hello, Grüße", 1, sent.id)]


def test_messages_run_side_by_side_up_to_a_batch_and_the_threshold(host: HostProcess) -> None:
    host.stop()
    for _ in range(30):
        host.queue.send_message("hold")
    host.start()
    wait_until(lambda: len(host.events("began")) == 16, "a whole batch")
    host.let_go()
    wait_until(lambda: len(host.events("ended")) == 30, "thirty calls")
    moments = [(event["at"], 1) for event in host.events("began")] + [
        (event["at"], -1) for event in host.events("ended")
    ]
    num_running = most = 0
    for _, change in sorted(moments):
        num_running += change
        most = max(most, num_running)
    assert 16 <= most <= 16 + 8


def test_a_queue_that_the_command_line_names_is_looked_into_often(stopped_host: HostProcess) -> None:
    log, settings = stopped_host.log.with_name("requests.log"), {"AzureFunctionsJobHost__" + _LONGEST_PAUSE: "01:00:00"}
    name = stopped_host.queue.queue_name
    stopped_host.start("--often", name, **settings, **{REQUEST_LOG: str(log)})
    # Each pause would be twice as long as the one before: the fifteenth look would come after five minutes.
    wait_until(lambda: log.read_text().count(f"/{name}/messages") >= 15, "fifteen looks")


def test_a_failing_message_is_tried_five_times_and_then_moved_to_poison(
    host: HostProcess, connection_string: str
) -> None:
    host.queue.send_message("fail always")
    with _poison(host, connection_string) as poison:
        wait_until(lambda: "Moved message" in host.log.read_text(), "the move")
        assert host.messages(poison) == ["fail always"]
    assert host.queue.get_queue_properties().approximate_message_count == 0
    assert [event["dequeue_count"] for event in host.events("began")] == [1, 2, 3, 4, 5]


def test_a_failed_message_comes_back_after_the_visibility_timeout(host: HostProcess) -> None:
    host.stop()
    host.start(AzureFunctionsJobHost__extensions__queues__visibilityTimeout="00:00:02")
    host.queue.send_message("fail slowly")
    wait_until(lambda: len(host.events("began")) >= 2, "the second try")
    first, second = host.events("began")[:2]
    assert second["at"] - first["at"] >= 1.0


def test_base64_is_the_default_and_what_is_not_goes_to_poison(host: HostProcess, connection_string: str) -> None:
    host.stop()
    host.start(AzureFunctionsJobHost__extensions__queues__messageEncoding="base64")
    host.queue.send_message(base64.b64encode(b"decoded").decode())
    host.queue.send_message("plain text!")
    wait_until(lambda: host.events("ended"), "the call")
    wait_until(lambda: "Moved message" in host.log.read_text(), "the move")
    with _poison(host, connection_string) as poison:
        assert host.messages(poison) == ["plain text!"]
    assert [event["body"] for event in host.events("began")] == ["decoded"]


def test_sigterm_lets_a_running_message_end_and_settles_it(host: HostProcess) -> None:
    host.queue.send_message("sleep 1.5")
    wait_until(lambda: host.events("began"), "the call")
    assert host.stop(signal.SIGTERM) == 0
    assert len(host.events("ended")) == 1
    assert host.messages(host.queue) == []
    properties = host.queue.get_queue_properties()
    assert properties.approximate_message_count == 0


def test_a_message_that_runs_longer_than_it_is_hidden_is_not_run_twice(
    stopped_host: HostProcess, connection_string: str
) -> None:
    bodies: list[bytes] = []

    def slow(message: QueueMessage) -> None:
        bodies.append(message.get_body())
        time.sleep(6.5)
        stopping.set()

    stopping = threading.Event()
    function = Function("slow", "message", {"type": "queueTrigger"}, slow)
    stopped_host.queue.send_message("once")
    with (
        QueueServiceClient.from_connection_string(connection_string) as service,
        ThreadPoolExecutor() as executor,
    ):
        name = stopped_host.queue.queue_name
        limits = QueueLimits(is_base64=False, max_polling_interval_s=0.1)
        QueueListener(function, name, service, limits, executor, stopping, hidden_s=5).listen()
    assert bodies == [b"once"]
    # Each renewal changed the receipt, and the deletion still worked.
    assert stopped_host.queue.get_queue_properties().approximate_message_count == 0


def test_a_pause_between_two_looks_ends_when_something_may_have_been_sent(
    stopped_host: HostProcess, connection_string: str
) -> None:
    stopping, stirred, looked = threading.Event(), threading.Event(), threading.Event()

    def receive(message: QueueMessage) -> None:
        stopping.set()

    def note(response: object) -> None:
        looked.set()

    function = Function("receive", "message", {"type": "queueTrigger"}, receive)
    with (
        QueueServiceClient.from_connection_string(connection_string, raw_response_hook=note) as service,
        ThreadPoolExecutor() as executor,
    ):
        name = stopped_host.queue.queue_name
        limits = QueueLimits(is_base64=False, max_polling_interval_s=3600.0)
        listener = QueueListener(function, name, service, limits, executor, stopping, stirred=stirred)
        thread = threading.Thread(target=listener.listen)
        thread.start()
        try:
            assert looked.wait(60.0)
            stopped_host.queue.send_message("at last")
            stirred.set()
            assert stopping.wait(60.0)
        finally:
            stopping.set()
            stirred.set()
            thread.join()


def test_the_host_tells_each_end_of_a_function_to_the_queue_that_is_looked_into_often() -> None:
    with _Stirring(1) as executor:
        executor.submit(lambda: None).result()
        assert executor.stirred.wait(60.0)
