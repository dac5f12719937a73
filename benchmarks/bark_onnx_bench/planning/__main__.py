"""How many replicas a load needs, by a simulation with the rates that were measured on a machine.

    python -m bark_onnx_bench.planning FIGURES [--utterances PER_HOUR] [--seconds MEAN] [--within SECONDS]

FIGURES is what `bark-onnx bench BUNDLE --batch 8 --json FIGURES` wrote. Utterances come independently of each other,
and their lengths are distributed exponentially. The last line of each table is the first number of replicas with which
95 of 100 requests are complete within --within, and less than one in 1000 is refused.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from bark_onnx.errors import BarkError

from .measured import Measured, percentile, read_figures
from .queueing import poisson, simulate

MOST_REFUSED = 1e-3
MOST_REPLICAS = 10_000


def table(
    measured: Measured, per_second: float, mean: float, *, within: float, slots: int, max_queue: int, requests: int
) -> Iterator[str]:
    """The lines of a table: from as many replicas as the load needs on average, to as many as keep the promise.

    Raises BarkError if no number of replicas keeps it.
    """
    rates = measured.rates(slots)
    arrivals = poisson(per_second, mean, requests)
    alone = percentile([seconds / rates[0] for _, seconds in arrivals], 95)
    if alone > within:
        raise BarkError(f"95 of 100 requests take {alone:.0f} s on an idle machine: allow more with --within")
    voice = measured.voice or "no voice"
    yield (
        f"{measured.model} {measured.precision}, {voice}: {measured.hours_per_core_hour:.2f} hours of audio per core "
        f"hour; a replica has {measured.cores} cores and {measured.memory_of(slots):.0f} MB with {slots} slots"
    )
    yield "| replicas | cores | busy | wait, median | wait, 95 of 100 | whole, median | whole, 95 of 100 | refused |"
    yield "|---|---|---|---|---|---|---|---|"
    for replicas in range(max(1, math.ceil(per_second * mean / rates[-1])), MOST_REPLICAS):
        outcome = simulate(arrivals, replicas, rates, max_queue)
        took, refused = percentile(outcome.took, 95), outcome.refused / requests
        seconds = [*(percentile(outcome.waited, p) for p in (50, 95)), percentile(outcome.took, 50), took]
        cells = [str(replicas), str(replicas * measured.cores), f"{outcome.utilisation(replicas):.0%}"]
        yield f"| {' | '.join([*cells, *(f'{value:.1f} s' for value in seconds), f'{refused:.2%}'])} |"
        if took <= within and refused < MOST_REFUSED:
            return


def main(arguments: list[str] | None = None) -> None:
    """Print a table for each voice in the figures."""
    parser = argparse.ArgumentParser(prog="python -m bark_onnx_bench.planning", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--utterances", type=float, default=3600.0, metavar="PER_HOUR", help="[default: 3600]")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="MEAN", help="of audio  [default: 5]")
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="for a request  [default: 60]")
    parser.add_argument("--slots", type=int, default=8, help="of a replica  [default: 8]")
    parser.add_argument("--max-queue", type=int, default=64, help="of a replica  [default: 64]")
    parser.add_argument("--requests", type=int, default=20_000, help="that are simulated  [default: 20000]")
    chosen = parser.parse_args(arguments)
    for name in ("utterances", "seconds", "within", "slots", "max_queue", "requests"):
        if not getattr(chosen, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be over 0")
    try:
        for measured in read_figures(chosen.figures):
            for line in table(
                measured,
                chosen.utterances / 3600,
                chosen.seconds,
                within=chosen.within,
                slots=chosen.slots,
                max_queue=chosen.max_queue,
                requests=chosen.requests,
            ):
                print(line)
    except BarkError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
