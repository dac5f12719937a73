"""Ask a server for speech many times, from many clients at a time, some of which leave; see what becomes of it.

    python -m bark_onnx_bench.soak [--requests 1000] [--clients 16] [--json FILE] [-- OPTIONS OF bark-onnx serve]

Starts `bark-onnx serve` as a process of its own. Every complete answer is compared with the same request alone, and
/metrics with what the clients saw. Memory, threads and open files are read each hundred requests. The exit status is 1
if something is wrong. Linux only.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from .asks import NANO
from .server import serving
from .soak import Reading, soak

WARM_AFTER = 100  # requests; until then buffers and caches reach their size


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bark_onnx_bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="draws the requests")
    parser.add_argument("--most-growth", type=float, default=0.02, help="of the memory after the first 100 requests")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("options", nargs="*", help="of bark-onnx serve")
    arguments = parser.parse_args()
    print("requests  memory MiB  threads  files  temporary", flush=True)
    with serving(arguments.options) as server:
        report = soak(server, NANO.asks(arguments.requests, arguments.seed), arguments.clients, tell=_show)
    print(f"clients saw {dict(report.fates)}; the server counts {report.outcomes}")
    if arguments.requests > WARM_AFTER:
        growth = report.growth(WARM_AFTER)
        print(f"memory grew by {growth:.1%} after the first {WARM_AFTER} requests")
        if growth > arguments.most_growth:
            report.problems.append(f"that is more than {arguments.most_growth:.1%}")
    if arguments.json is not None:
        figures = {
            "fates": dict(report.fates),
            "outcomes": report.outcomes,
            "readings": [asdict(reading) for reading in report.readings],
            "problems": report.problems,
        }
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if report.problems:
        sys.exit("\n".join(report.problems))


def _show(reading: Reading) -> None:
    held = reading.footprint
    print(
        f"{reading.requests:8}  {held.memory_mib:10.1f}  {held.threads:7}  {held.files:5}  {held.temporary:9}",
        flush=True,
    )


if __name__ == "__main__":
    main()
