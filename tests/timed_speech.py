"""A server of OpenAI's speech API whose answers have a known timing, in a thread of the test's process."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

BYTES_PER_SECOND = 48_000  # pcm at 24 kHz
QUIET = bytes(BYTES_PER_SECOND)


@dataclass(frozen=True)
class Timed:
    """One answer.

    Args:
        pieces: seconds to wait before each piece, and its seconds of audio.
        complete: whether the end of the body is sent; without it the connection is closed.
        content: is sent instead of the pieces.
    """

    pieces: Sequence[tuple[float, float]] = ((0.0, 0.1),)
    status: int = 200
    media_type: str = "audio/pcm"
    complete: bool = True
    content: bytes | None = None


@dataclass
class Served:
    """What the server has seen."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: Lock = field(default_factory=Lock)


@contextmanager
def timed_speech(answer: Callable[[int], Timed]) -> Iterator[Served]:
    """Serve until the end of the block.

    Args:
        answer: what to answer to a request; they are counted from 0.
    """
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                number = len(served.bodies)
                served.bodies.append({"path": self.path, **body})
                served.keys.append(self.headers["Authorization"])
                served.at_once += 1
                served.most_at_once = max(served.most_at_once, served.at_once)
            try:
                self._send(answer(number))
            finally:
                with served.lock:
                    served.at_once -= 1

        def _send(self, timed: Timed) -> None:
            self.send_response(timed.status)
            self.send_header("Content-Type", timed.media_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            if timed.content is not None:
                self._chunk(timed.content)
            else:
                for wait, seconds in timed.pieces:
                    time.sleep(wait)
                    self._chunk(QUIET[: round(seconds * BYTES_PER_SECOND)])
            if timed.complete:
                self._chunk(b"")
            self.close_connection = True

        def _chunk(self, content: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
