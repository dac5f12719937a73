"""A replica: the server's application in a process of Ray Serve."""

import logging
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bark_onnx import Bark, BarkWarning

from ..app import make_app
from ..logs import with_fields
from ..metrics import Metrics
from ..service import Service
from ..web.requests import REQUEST_ID
from .arguments import Arguments
from .figures import Export

log = logging.getLogger(__name__)


class Replica:
    """One model and one engine. Ray calls the methods below."""

    def __init__(self, arguments: Arguments) -> None:
        self._closing = ExitStack()
        _log_to_ray()
        # A warning about the words of a text would have the words.
        warnings.filterwarnings("ignore", category=BarkWarning)
        settings = arguments.settings()
        bark = Bark.load(arguments.bundle, device=arguments.device, threads=arguments.threads)
        self._service = Service(bark, settings)
        self._closing.callback(self._service.close)
        self._metrics = Metrics(self._service)
        self._closing.callback(Export(self._metrics).close)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        return BehindProxy(make_app(self._service, self._metrics), self._end_without_engine)

    async def check_health(self) -> None:
        """Ray calls it every second."""
        self._end_without_engine()

    def _end_without_engine(self) -> None:
        """End the process if the engine has died. What the engine had has failed by then.

        Ray replaces a process that has ended at once. One that only fails its health checks would get requests for some
        seconds more, and most of them, since it would answer each with an error at once.
        """
        if not self._service.ready:
            log.critical("the engine has died: %r", self._service.worker)
            logging.shutdown()
            os._exit(1)

    def __del__(self) -> None:
        """Ray calls it when the replica has ended its requests, and also if it could not start."""
        self._closing.close()


class BehindProxy:
    """What is different behind Ray's proxy.

    The proxy adds the request's id to each answer, so the application's own header is left out.

    Args:
        before: is called at the beginning of each request.
    """

    def __init__(self, app: ASGIApp, before: Callable[[], None]) -> None:
        self._app = app
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._before()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0].lower() != REQUEST_ID.encode()]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, answer)


def _log_to_ray() -> None:
    """Write the server's log where Ray Serve writes its own."""
    ours = logging.getLogger("bark_onnx_serve")
    ours.setLevel(logging.INFO)
    ours.handlers = [_ToServe()]
    ours.propagate = False


class _ToServe(logging.Handler):
    """Gives records to Ray Serve's logger, whose text has no fields."""

    def emit(self, record: logging.LogRecord) -> None:
        line = logging.makeLogRecord({**record.__dict__, "msg": with_fields(record), "args": None})
        logging.getLogger("ray.serve").handle(line)
