"""A service for asyncio: a client sends a line of text and gets samples (24 kHz, 16 bits) while they are generated.

    python examples/service.py 9000
    echo "Hello! Sound comes before the end." | nc localhost 9000 | aplay -f S16_LE -r 24000

One worker speaks the texts of all clients together. The work for a client that leaves is stopped.
"""

import asyncio
import sys
from contextlib import suppress
from functools import partial

from bark_onnx import Bark, BarkError, Worker


async def answer(bark: Bark, worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(300):
            text = (await reader.readline()).decode()
            with bark.stream(text, voice="en_male", worker=worker) as stream:
                async for chunk in stream:
                    writer.write((chunk.waveform.clip(-1, 1) * 32767).astype("<i2").tobytes())
                    await writer.drain()  # waits for a slow client, and raises OSError if it has left
    except (BarkError, OSError, ValueError, asyncio.CancelledError) as error:  # speech, connection, line, Ctrl-C
        print(f"no more speech for this client: {error!r}", file=sys.stderr)
    finally:
        writer.close()


async def main(port: int) -> None:
    with Bark.load() as bark, bark.worker(slots=8, max_waiting=32) as worker:
        server = await asyncio.start_server(partial(answer, bark, worker), "127.0.0.1", port)
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1])))
