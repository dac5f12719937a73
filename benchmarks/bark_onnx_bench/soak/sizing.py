"""How much memory a server takes with each number of slots: at rest, and when all of them have spoken.

    python -m bark_onnx_bench.soak.sizing [--bundle DIR] [--slots 1,4,8] [--json FILE]

Starts `bark-onnx serve` as a process of its own for each number of slots, and asks for one long utterance in each slot,
all at the same time. Linux only.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from ..machine.description import machine
from ..report.figures import write_figures
from .asks import NANO, Ask
from .client import speak
from .server import serving


@dataclass(frozen=True)
class Size:
    """The memory of a server, in MiB.

    Args:
        rest: resident before the first request.
        peak: resident at most, while each slot makes an utterance.
    """

    slots: int
    rest: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bark_onnx_bench.soak.sizing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, help="a directory; by default the bundle that comes with the package")
    parser.add_argument("--slots", default="1,4,8", type=_counts, help="numbers of slots, with commas between them")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    bundle = [] if arguments.bundle is None else ["--bundle", str(arguments.bundle)]
    print("slots  at rest MiB  peak MiB", flush=True)
    sizes = []
    for slots in arguments.slots:
        sizes.append(measure(slots, bundle))
        print(f"{slots:5}  {sizes[-1].rest:11.1f}  {sizes[-1].peak:8.1f}", flush=True)
    if arguments.json is not None:
        named = [] if arguments.bundle is None else [f"--bundle {arguments.bundle.name}"]
        slots = ",".join(map(str, arguments.slots))
        command = " ".join(["python -m bark_onnx_bench.soak.sizing", *named, f"--slots {slots}"])
        figures = {"command": command, "machine": machine(), "sizes": [asdict(size) for size in sizes]}
        write_figures(arguments.json, figures)


def measure(slots: int, options: Sequence[str]) -> Size:
    """Start a server with so many slots, and fill them once."""
    (text, _), *_ = NANO.long_texts
    with serving(["--slots", str(slots), *options]) as server, ThreadPoolExecutor(slots) as pool:
        rest = server.footprint().memory_mib
        replies = list(pool.map(lambda seed: speak(server.port, Ask(text, seed, "pcm", "audio")), range(slots)))
        peak = server.footprint().peak_mib
    for reply in replies:
        if reply.fate != "complete":
            sys.exit(f"sizing: with {slots} slots, a request was not completed: {reply.fate} {reply.problem}")
    return Size(slots, round(rest, 1), round(peak, 1))


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
