"""The simulation of replicas, against queues whose waiting times are known."""

import json
import random
from pathlib import Path

import pytest

from bark_onnx_bench.planning.__main__ import main
from bark_onnx_bench.planning.measured import read_figures
from bark_onnx_bench.planning.queueing import Arrival, poisson, simulate

COUNT = 60_000
LOAD = 0.6
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def constant(per_second: float) -> list[Arrival]:
    draw, now, arrivals = random.Random(0), 0.0, []
    for _ in range(COUNT):
        now += draw.expovariate(per_second)
        arrivals.append((now, 1.0))
    return arrivals


def test_exponential_lengths_and_one_slot_wait_as_in_m_m_1() -> None:
    outcome = simulate(poisson(LOAD, 1.0, COUNT), 1, [1.0], COUNT)
    assert mean(outcome.waited) == pytest.approx(LOAD / (1 - LOAD), rel=0.05)
    assert mean(outcome.took) == pytest.approx(1 / (1 - LOAD), rel=0.05)
    assert outcome.utilisation(1) == pytest.approx(LOAD, rel=0.03)


def test_equal_lengths_and_one_slot_wait_as_in_m_d_1() -> None:
    outcome = simulate(constant(LOAD), 1, [1.0], COUNT)
    assert mean(outcome.waited) == pytest.approx(LOAD / (2 * (1 - LOAD)), rel=0.05)


def test_slots_for_everybody_share_the_processor() -> None:
    """Then the mean time depends only on the mean length (Kleinrock, volume 2, 4.17)."""
    for arrivals in (poisson(LOAD, 1.0, COUNT), constant(LOAD)):
        outcome = simulate(arrivals, 1, [1.0] * 1000, 1)
        assert mean(outcome.took) == pytest.approx(1 / (1 - LOAD), rel=0.05)
        assert set(outcome.waited) == {0.0}


def test_a_full_queue_refuses_as_in_m_m_1_k() -> None:
    """With two places in all, a request finds both taken with probability a^2 / (1 + a + a^2)."""
    outcome = simulate(poisson(LOAD, 1.0, COUNT), 1, [1.0], 1)
    assert outcome.refused / COUNT == pytest.approx(LOAD**2 / (1 + LOAD + LOAD**2), rel=0.05)
    assert len(outcome.took) + outcome.refused == COUNT


def test_two_replicas_that_share_requests_wait_less_than_two_that_do_not() -> None:
    shared = simulate(poisson(2 * LOAD, 1.0, COUNT), 2, [1.0], COUNT)
    assert mean(shared.waited) < 0.7 * LOAD / (1 - LOAD)
    assert mean(shared.waited) > LOAD**2 / (1 - LOAD**2)  # one queue for both, which is the best: M/M/2


def test_rates_are_those_that_were_measured() -> None:
    measured = read_figures(RESULTS / "bench-small-sweep-int8.json")[0]
    rates = measured.rates(16)
    assert rates[0] == pytest.approx(8 * 5.12 / 86.526)
    assert rates[7] == rates[15] == pytest.approx(8 * 5.12 / 61.594)
    assert rates[0] < rates[3] < rates[7]
    assert measured.hours_per_core_hour == pytest.approx(rates[7] / 2)


def test_the_command_ends_with_enough_replicas(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(RESULTS / "bench-small-batch-int8.json"), "--utterances", "1000", "--requests", "2000", "--within", "50"])
    lines = capsys.readouterr().out.splitlines()
    assert "hours of audio per core hour" in lines[0]
    last = [cell.strip() for cell in lines[-1].split("|")]
    assert float(last[7].removesuffix(" s")) <= 50
    assert last[8] == "0.00%"


def test_what_no_number_of_replicas_can_do_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^Error: 95 of 100 requests take \d+ s on an idle machine"):
        main([str(RESULTS / "bench-small-batch-int8.json"), "--within", "1"])


@pytest.mark.parametrize("content", ["nothing", "{}", json.dumps({"batches": []})])
def test_other_files_are_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match=r"^Error: .*figures\.json"):
        main([str(path)])
