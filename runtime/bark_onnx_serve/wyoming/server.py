"""Listen for clients of the Wyoming protocol."""

import asyncio
import logging
import socket
from collections.abc import Sequence

from ..metrics import Metrics
from ..service import Service
from .connection import Connection

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 128


class WyomingServer:
    """Accepts connections.

    Args:
        listening: sockets that listen; they are closed at the end. Without any, nothing is accepted.
        tasks: where to put the tasks of connections. Whoever owns the set waits for them, or cancels them.
    """

    def __init__(
        self, service: Service, metrics: Metrics, listening: Sequence[socket.socket], tasks: set["asyncio.Task[None]"]
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._listening = listening
        self._tasks = tasks
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Accept connections from now on."""
        limit = self._service.settings.max_body_bytes
        for listening in self._listening:
            self._servers.append(await asyncio.start_server(self._accept, sock=listening, limit=limit))

    def stop(self) -> None:
        """Accept no more, and end the connections when their requests are answered."""
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            log.warning("a Wyoming connection was refused: there are %d already", MOST_CONNECTIONS)
            writer.transport.abort()
            return
        connection = Connection(reader, writer, self._service, self._metrics)
        self._connections.add(connection)
        task = asyncio.ensure_future(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:
            log.exception("a Wyoming connection failed")
        finally:
            self._connections.discard(connection)
