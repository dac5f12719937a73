"""What happens to every request: it gets an id, it is counted and logged, and if we fail it gets an answer."""

import asyncio
import logging
import re
import uuid
from dataclasses import dataclass, field
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..metrics import Metrics, Outcome
from .errors import ApiError, internal_error
from .paths import path_of

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"


@dataclass
class Record:
    """What is known about a request. Never its text.

    Args:
        id: the one that a proxy or a client gave, or a new one.
        fields: more for the log.
        outcome: what became of its speech; None: by the status of the answer.
    """

    id: str
    began: float = field(default_factory=perf_counter)
    status: int | None = None
    outcome: Outcome | None = None
    fields: dict[str, object] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it takes so far."""
        return perf_counter() - self.began


def record_of(request: Request) -> Record:
    """The record of a request that came through KeepRecords."""
    record: Record = request.state.record
    return record


class KeepRecords:
    """The outermost of our layers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = Record(_request_id(scope))
        scope["state"] = {**scope.get("state", {}), "record": record}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = record.id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            # The server stops, and the time for that is over. To return without a complete body cuts the connection.
            record.outcome = "cancelled"
            if record.status is None:
                await ApiError(503, "the server is shutting down", "shutting_down")(scope, receive, answer)
        except Exception:
            record.outcome = "failed"
            log.exception("a request failed", extra={"fields": {"id": record.id}})
            if record.status is None:
                await internal_error()(scope, receive, answer)
        finally:
            self._finish(record, scope)

    def _finish(self, record: Record, scope: Scope) -> None:
        path = path_of(scope)
        if path == "/v1/audio/speech" and scope["method"] == "POST":
            record.fields["outcome"] = outcome = record.outcome or _outcome(record.status)
            self._metrics.requests.labels(outcome).inc()
        level = logging.DEBUG if path in ("/health", "/ready", "/metrics") else logging.INFO
        fields = {
            "id": record.id,
            "method": scope["method"],
            "path": path[:100],
            "status": record.status,
            "seconds": round(record.seconds, 3),
        }
        log.log(level, "request", extra={"fields": fields | record.fields})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else f"req_{uuid.uuid4().hex}"


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return "cancelled"
    if status == 429:
        return "rejected"
    return "failed" if status >= 500 else "refused" if status >= 400 else "completed"
