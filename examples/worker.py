"""One worker for a whole server: requests come from asyncio and from threads, and are spoken together.

python examples/worker.py
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from bark_onnx import Bark, Request, StreamOptions, Worker


def from_a_thread(worker: Worker, text: str) -> None:
    worker.submit(Request(text, voice="en_male", seed=1), timeout=60).result().save("thread.wav")


async def from_asyncio(worker: Worker, text: str) -> None:
    task = worker.submit(Request(text, voice="en_female", seed=2, streaming=StreamOptions()))
    async for chunk in task:
        print(f"{chunk.duration:.2f} s of audio from {chunk.start:.2f} s on")
    (await task).save("asyncio.wav")


with Bark.load() as bark, bark.worker(slots=8, max_waiting=64) as worker, ThreadPoolExecutor() as pool:
    thread = pool.submit(from_a_thread, worker, "This request comes from a thread.")
    asyncio.run(from_asyncio(worker, "This one comes from asyncio, as a stream."))
    thread.result()
