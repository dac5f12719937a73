"""Stop the work for a client that has gone."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


async def while_connected(receive: Receive, work: Coroutine[None, None, None]) -> bool:
    """Run `work` until it ends, or until the client disconnects; then it is cancelled.

    Args:
        receive: of an ASGI request whose body has been read. Otherwise nobody would learn of a disconnect before
            something is sent.

    Returns whether the work ended by itself. Raises what it raised.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        listening.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
