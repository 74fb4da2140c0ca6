"""The process: it listens, loads, answers, and ends in order when it is told to."""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mulo_sd.engines.http.app import make_app
from mulo_sd.engines.http.logs import log
from mulo_sd.engines.http.notify import notify
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.ingress.errors import ApiError, too_many_requests
from mulo_sd.engines.numbers import SettingsError

# For answers that are being sent when nothing else is left to do.
LAST_SECONDS = 5
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 30.0
# In which a client takes some of an answer that waits for it.
READ_SECONDS = 30.0
# Beside them, descriptors are needed for bundles, the log and the listener.
MAX_CONNECTIONS = 1000
FREE_DESCRIPTORS = 256


class _Protocol(H11Protocol):
    """HTTP/1.1 within bounds; what is none, comes too slowly or is too much gets the error object, too."""

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """Take a connection, and give it some seconds for a request's head."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(too_many_requests(len(self.connections)))

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head have to come together in time."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_wait()
        elif self._late is None:
            self._await_head()

    def pause_writing(self) -> None:
        """Begin to look whether the client takes what waits for it: else an answer would be kept for ever."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Write on: the client has taken nearly all."""
        self._end_wait_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._end_wait()
        self._end_wait_for_reader()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read as a request."""
        self._refuse(ApiError(400, "request: expected HTTP/1.1 with a head of at most 64 kB", code="invalid_http"))

    def _await_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse_late)

    def _end_wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _await_reader(self) -> None:
        self._end_wait_for_reader()
        size = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(READ_SECONDS, self._check_reader, size)

    def _end_wait_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _check_reader(self, size_before: int) -> None:
        if self.transport.get_write_buffer_size() < size_before:
            self._await_reader()
        else:
            log("client reads nothing", unread_bytes=size_before, seconds=READ_SECONDS)
            self.transport.abort()

    def _refuse_late(self) -> None:
        message = f"request: expected its head within {HEAD_SECONDS:g} s, got a part of it"
        self._refuse(ApiError(408, message, code="request_too_slow"))

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error, where no answer has begun, and close."""
        self._end_wait()
        body = json.dumps(error.body()).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *error.headers.items(),
        ]
        with suppress(h11.LocalProtocolError):
            response = h11.Response(status_code=error.status, headers=headers)
            for part in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(part))
        self.transport.close()


class Server(uvicorn.Server):
    """Takes signals its own way: the first one drains, the second one ends at once."""

    def __init__(self, service: Service, grace: float) -> None:
        """Prepare.

        Args:
            service: Answers.
            grace: Seconds for requests to end after the first signal.
        """
        config = uvicorn.Config(
            make_app(service),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        super().__init__(config)
        self.service, self.grace = service, grace
        self._ending: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`, which takes them before it says where it listens."""
        yield

    def end(self) -> None:
        """Drain and stop; called again, stop at once."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._drain())
        else:
            log("stopping at once")
            self.service.drawings.stop()
            self.force_exit = self.should_exit = True

    async def _drain(self) -> None:
        notify("STOPPING=1")
        log("draining", answering=self.service.answering, grace=self.grace)
        await self.service.drain(self.grace)
        self.should_exit = True


def allow_connections() -> None:
    """Let the process open as many files as its connections need, as far as the system lets it."""
    with suppress(ImportError, OSError, ValueError):  # no Unix, or not allowed
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_CONNECTIONS + FREE_DESCRIPTORS
        if 0 <= soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        SettingsError: it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{host}:{port}: cannot listen there: {reason}; give another --port") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    service: Service, listener: socket.socket, grace: float, load: Callable[[], Any], say: Callable[[str], Any]
) -> bool:
    """Answer until a signal ends it; return whether all was loaded until then.

    Args:
        service: Without engines yet.
        listener: Where clients come.
        grace: Seconds for requests to end after a signal.
        load: Fills the service's engines; called in a thread of its own while the service already says that it loads.
        say: Called with a line for who started it, when signals are taken.

    Raises:
        Exception: what loading raised.
    """
    server, url = Server(service, grace), url_of(listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.end)
    say(f"mulo-sd: {url}/ draws, {url}/v1 is for OpenAI's clients; Ctrl-C ends it")
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    loading = _in_a_thread(load)
    try:
        await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.exception() is None and service.state == "loading":
            service.state = "ready"
            log("ready", url=url, models=list(service.engines))
            notify("READY=1")
        elif loading.done():
            server.should_exit = True
        await serving
        if loading.done():
            loading.result()
        return loading.done()
    finally:
        await service.close()


def _in_a_thread(load: Callable[[], Any]) -> "asyncio.Future[None]":
    """Call a function in a thread that keeps no process alive: loading may take minutes, and a signal ends it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            load()
        except BaseException as caught:  # it is the event loop's to raise
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="mulo-sd-load", daemon=True).start()
    return ended
