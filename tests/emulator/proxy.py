"""A line to the emulator that can be cut: a TCP proxy on the loopback interface."""

import contextlib
import socket
import struct
import threading
from typing import Self

_CHUNK_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that lets `close` send a reset rather than an orderly end."""


class Proxy:
    """Passes connections on to a port until told otherwise; each change takes hold of open connections too.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._is_cut = False
        self._breaks: list[tuple[int, bool]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """Resets every connection, and each new one at once, until `mend`."""
        with self._guard:
            self._is_cut = True
            for end in self._open:
                _reset(end)

    def stall(self) -> None:
        """Lets nothing through any more, in either direction, without a word, until `mend`."""
        self._flows.clear()

    def mend(self) -> None:
        """Lets everything through again, also what was held back."""
        with self._guard:
            self._is_cut = False
        self._flows.set()

    def break_answers(self, num_times: int, *, after_bytes: int, is_reset: bool = True) -> None:
        """Breaks the next answers off that are longer than `after_bytes`: by a reset, or an orderly end too early."""
        with self._guard:
            self._breaks = [(after_bytes, is_reset)] * num_times

    @property
    def num_breaks_left(self) -> int:
        """How many answers are still to be broken off."""
        return len(self._breaks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        # A thread that waits in accept() would go on to: shutdown wakes it, close does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flows.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                _reset(near)
                continue
            far = socket.create_connection(("127.0.0.1", self._target_port))
            connection = _Connection(near, far)
            with self._guard:
                self._open |= {near, far}
            for is_answer in (False, True):
                threading.Thread(target=self._pump, args=(connection, is_answer), daemon=True).start()

    def _pump(self, connection: "_Connection", is_answer: bool) -> None:
        near, far = connection.near, connection.far
        source, sink = (far, near) if is_answer else (near, far)
        try:
            while data := source.recv(_CHUNK_BYTES):
                self._flows.wait()
                if not is_answer:
                    connection.num_answered_bytes = 0
                elif self._breaks_off(connection, data):
                    break
                sink.sendall(data)
        except OSError:
            pass  # reset by one of the ends, or by us
        with self._guard:
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _breaks_off(self, connection: "_Connection", data: bytes) -> bool:
        with self._guard:
            before = connection.num_answered_bytes
            connection.num_answered_bytes += len(data)
            if not self._breaks or connection.num_answered_bytes <= self._breaks[0][0]:
                return False
            after_bytes, is_reset = self._breaks.pop()
        connection.near.sendall(data[: max(0, after_bytes - before)])
        if is_reset:
            _reset(connection.near)
        return True


class _Connection:
    """A connection through the proxy: its two ends, and how much of the present answer has come."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.num_answered_bytes = 0


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wakes a thread that waits in recv(); the reset goes out by close().
        end.shutdown(socket.SHUT_RD)
        end.close()
