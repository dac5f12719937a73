"""The server's process: its signals, and its end."""

import logging
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn

from bark_onnx import Bark, BarkError, BarkWarning

from .app import make_app
from .listening import addresses, listening_sockets, port_of
from .metrics import IN_PROGRESS, Metrics
from .service import Service
from .settings import Settings
from .web.connection import Connection
from .wyoming.server import WyomingServer

log = logging.getLogger(__name__)


def serve(load: Callable[[], Bark], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and then finish what has begun.

    Args:
        load: loads the model. The port is taken before that, so that a port in use is known at once.

    Raises BarkError if the server cannot start, or if its engine died.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(listening_sockets(settings.host, settings.port))
        wyoming: list[socket.socket] = []
        if settings.wyoming is not None:
            wyoming = stack.enter_context(listening_sockets(settings.host, settings.wyoming, "--wyoming"))
        service = Service(load(), settings)
        # A warning about the words of a text would have the words.
        warnings.filterwarnings("ignore", category=BarkWarning)
        try:
            server = Server(service, wyoming)
            with server.capture_signals():  # who reads the line that it serves may end it at once
                _tell(service, listening, wyoming)
                server.run(listening)
        finally:
            service.close()
    if server.engine_died:
        raise BarkError("the engine has died: see the log above")


class Server(uvicorn.Server):
    """uvicorn's server for a service. It ends when the engine dies.

    Args:
        wyoming: sockets that listen for clients of the Wyoming protocol.
    """

    def __init__(self, service: Service, wyoming: Sequence[socket.socket] = ()) -> None:
        metrics = Metrics(service)
        config = uvicorn.Config(
            make_app(service, metrics),
            loop="asyncio",  # uvicorn would take uvloop if it is installed, whose connections end in other ways
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=service.settings.drain_seconds,
        )
        super().__init__(config)
        self._service = service
        self._metrics = metrics
        self._signal: signal.Signals | None = None  # that ends the server
        self.engine_died = False
        # uvicorn waits for these tasks when it stops, and cancels them when the time for that is over.
        tasks = self.server_state.tasks
        self._wyoming = WyomingServer(service, metrics, wyoming, tasks)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._wyoming.start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, and note the signal. A handler must not write to the log: it may interrupt another line."""
        self._signal = self._signal or signal.Signals(sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._signal is not None:
            in_progress = int(self._metrics.registry.get_sample_value(IN_PROGRESS) or 0)
            fields = {"in_progress": in_progress, "drain_seconds": self._service.settings.drain_seconds}
            log.info("stopping after %s", self._signal.name, extra={"fields": fields})
        self._wyoming.stop()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this every tenth of a second. Returns whether to end."""
        if not self._service.ready and not self.engine_died:
            self.engine_died = True
            log.critical("the engine has died: %r", self._service.worker)
        return await super().on_tick(counter) or self.engine_died

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal after which everything was finished is a good end: the exit status is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, action in before.items():
                signal.signal(number, action)


def _tell(service: Service, listening: Sequence[socket.socket], wyoming: Sequence[socket.socket]) -> None:
    settings, manifest = service.settings, service.bark.bundle.manifest
    log.info(
        "serving %s in %s at %s", manifest.model, manifest.precision, addresses(listening, "http", settings.root_path)
    )
    if not settings.is_local and not settings.api_keys:
        log.warning("everybody who reaches %s may use this server: set --api-key", settings.host)
    if wyoming:
        log.info("speaking the Wyoming protocol at %s", addresses(wyoming, "tcp"))
        if not settings.is_local:
            message = "everybody who reaches %s may use port %d: Wyoming has no keys"
            log.warning(message, settings.host, port_of(wyoming))
