"""`tune`: what is measured, what is chosen, how it is kept, and that it is what the networks then run with."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkWarning, GenerationOptions
from bark_onnx.checks import tuning
from bark_onnx.checks.tuning import Trial, best, thread_counts
from bark_onnx.graphs.device import Device
from bark_onnx.model.bundle import STAGES, Bundle
from run_command import run

OPTIONS = GenerationOptions(max_seconds=0.5)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARK_ONNX_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 3, 4, 6]), (10, [1, 2, 3, 4, 6, 8, 10])],
)
def test_thread_counts(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts
    assert len(thread_counts(128)) < 20


def test_more_threads_must_pay() -> None:
    found = [
        Trial("fine", 1, 2.0),
        Trial("fine", 2, 1.0),
        Trial("fine", 4, 0.98),
        Trial("codec", 4, 1.0),
        Trial("codec", 1, 0.9),
        Trial("coarse", 2, 1.0),
        Trial("coarse", 4, 0.5),
        Trial("coarse", 8, 0.7),
    ]
    assert best(found) == best(found[::-1]) == {"fine": 2, "codec": 1, "coarse": 4}


def test_every_setting_is_measured(bundle: Path) -> None:
    found = list(tuning.trials(Bundle.open(bundle), 2, repeats=1))
    assert [(trial.stage, trial.threads) for trial in found] == [(stage, n) for stage in STAGES for n in (1, 2)]
    assert all(0 < trial.seconds < 600 for trial in found)
    assert set(best(found)) == set(STAGES)


def test_what_is_kept_is_what_runs(bark: Bark, bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Bundle.open(bundle)
    tuned = {"semantic": 1, "coarse": 2, "fine": 1, "codec": 2}
    assert tuning.save(opened, tuned).is_relative_to(cache)
    assert tuning.load(opened) == tuned
    threads = []
    real = ort.InferenceSession

    def session(path: Path, options: ort.SessionOptions, providers: object) -> object:
        threads.append(options.intra_op_num_threads)
        return real(path, options, providers=providers)

    monkeypatch.setattr(ort, "InferenceSession", session)
    own = Bark.load(bundle, device="cpu")
    assert threads == [1, 2, 1, 2]
    speech, expected = (model.generate("hello", options=OPTIONS, seed=2) for model in (own, bark))
    assert np.array_equal(speech.tokens.coarse, expected.tokens.coarse)
    threads.clear()
    Bark.load(bundle, device="cpu", threads=1)
    assert threads == [1] * 4  # the caller's choice goes before it


def test_it_is_this_machine_s_and_this_bundle_s(
    bundle: Path, bundle_with_voice: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning.save(Bundle.open(bundle), {"fine": 1})
    assert tuning.load(Bundle.open(bundle_with_voice)) == {}
    monkeypatch.setattr(tuning, "usable_cores", lambda: 64)
    assert tuning.load(Bundle.open(bundle)) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]x", b"[1]", b"1", b"null", b"\xff", b'{"fine": null}', b'{"fine": 0}', b'{"fine": 5000}',
        b'{"fine": true}', b'{"fine": "2"}', b'{"fine": 2.0}', b'{"fine": {}}', b'{"other": 2}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_that_tune_did_not_write_is_ignored(bundle: Path, cache: Path, content: bytes) -> None:
    opened = Bundle.open(bundle)
    path = tuning.save(opened, {"fine": 1})
    path.write_bytes(content)
    with pytest.warns(BarkWarning, match="not what `bark-onnx tune` writes"):
        assert tuning.load(opened) == {}


def test_a_stage_that_was_not_tuned_has_the_device_s_own() -> None:
    device = Device("cpu", 3, tuned={"fine": 1})
    assert [device.at(stage).threads for stage in STAGES] == [3, 3, 1, 3]


def test_the_command(bundle: Path, cache: Path) -> None:
    dry = run("tune", bundle, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert list(cache.iterdir()) == []
    result = run("tune", bundle)
    lines = result.stdout.decode().splitlines()
    best_line = lines.index("best:")
    assert [line.split()[0] for line in lines[best_line + 1 : -1]] == list(STAGES)
    assert all(line in lines[:best_line] for line in lines[best_line + 1 : -1])
    (kept,) = cache.rglob("*.json")
    assert lines[-1] == f"kept in {kept}"
    assert set(json.loads(kept.read_text())) == set(STAGES)
