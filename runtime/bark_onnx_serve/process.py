"""The server's process: its socket, its signals, and its end."""

import logging
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from bark_onnx import Bark, BarkError, BarkWarning
from bark_onnx.errors import reason

from .app import make_app
from .metrics import Metrics
from .service import Service
from .settings import Settings
from .web.connection import Connection
from .wyoming.server import WyomingServer

log = logging.getLogger(__name__)

# What the kernel holds of an answer that its reader does not take: by default up to 4 MB for each connection, which is
# minutes of audio. The kernel doubles this figure.
SEND_BUFFER_BYTES = 1 << 17


def serve(load: Callable[[], Bark], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and then finish what has begun.

    Args:
        load: loads the model. The port is taken before that, so that a port in use is known at once.

    Raises BarkError if the server cannot start, or if its engine died.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(listening_socket(settings.host, settings.port))
        wyoming = None
        if settings.wyoming is not None:
            wyoming = stack.enter_context(listening_socket(settings.host, settings.wyoming, "--wyoming"))
        service = Service(load(), settings)
        # A warning about the words of a text would have the words.
        warnings.filterwarnings("ignore", category=BarkWarning)
        try:
            _tell(service, listening, wyoming)
            server = Server(service, wyoming)
            server.run([listening])
        finally:
            service.close()
    if server.engine_died:
        raise BarkError("the engine has died: see the log above")


class Server(uvicorn.Server):
    """uvicorn's server for a service. It ends when the engine dies.

    Args:
        wyoming: a socket that listens for clients of the Wyoming protocol.
    """

    def __init__(self, service: Service, wyoming: socket.socket | None = None) -> None:
        metrics = Metrics(service)
        config = uvicorn.Config(
            make_app(service, metrics),
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
        self.engine_died = False
        # uvicorn waits for these tasks when it stops, and cancels them when the time for that is over.
        tasks = self.server_state.tasks
        self._wyoming = None if wyoming is None else WyomingServer(service, metrics, wyoming, tasks)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._wyoming is not None:
            await self._wyoming.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._wyoming is not None:
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


@contextmanager
def listening_socket(host: str, port: int, option: str = "--port") -> Iterator[socket.socket]:
    """A socket that listens, until the end of the block. Raises BarkError, which names the option of the port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # each connection inherits it
    except OSError as error:
        raise BarkError(f"cannot listen on {host}, port {port}: {reason(error)}; take another {option}") from None
    with listening:
        yield listening


def _tell(service: Service, listening: socket.socket, wyoming: socket.socket | None) -> None:
    settings, manifest = service.settings, service.bark.bundle.manifest
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = listening.getsockname()[1]
    log.info("serving %s in %s at http://%s:%d%s", manifest.model, manifest.precision, host, port, settings.root_path)
    if not settings.is_local and not settings.api_keys:
        log.warning("everybody who reaches %s may use this server: set --api-key", settings.host)
    if wyoming is not None:
        port = wyoming.getsockname()[1]
        log.info("speaking the Wyoming protocol at tcp://%s:%d", host, port)
        if not settings.is_local:
            log.warning("everybody who reaches %s may use port %d: Wyoming has no keys", settings.host, port)
