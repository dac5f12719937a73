"""The comparison with transformers: turn about, the right stages, ratios of totals."""

from pathlib import Path

import torch

from bark_onnx_bench.peers import Seconds, compare, table, transformers_model


def test_peers_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def peer(name: str, unit: float) -> object:
        def run(seed: int) -> Seconds:
            calls.append((name, seed))
            return {"semantic": 1000.0 if seed == 0 else unit * seed, "codec": unit}

        return run

    results = compare({"a": peer("a", 1.0), "b": peer("b", 0.25)}, repeats=3)  # type: ignore[dict-item]
    assert calls == [(name, seed) for seed in range(4) for name in ("a", "b")]
    assert results == {"a": {"semantic": 2.0, "codec": 1.0}, "b": {"semantic": 0.5, "codec": 0.25}}
    header, a, b = table(results, audio_seconds=1.5).splitlines()
    assert header.split() == ["semantic", "codec", "RTF", "ratio"]
    assert (a.split()[-2:], b.split()[-2:]) == (["2.00", "1.0x"], ["0.50", "4.0x"])


def test_transformers_runs_every_stage_of_the_workload(checkpoint: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = transformers_model(checkpoint, torch.float32)(1)
    finally:
        torch.set_num_threads(threads)
    assert list(seconds) == ["semantic", "coarse", "fine", "codec"]
    assert min(seconds.values()) > 0
