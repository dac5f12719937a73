"""The comparison with other ways to run Bark: alternating rounds, times by stage, ratios of RTFs, errors of peers."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bark_onnx import BarkError
from bark_onnx_bench.peers import __main__ as peers
from bark_onnx_bench.peers.bark_cpp import bark_cpp_peer, timings
from bark_onnx_bench.peers.comparison import Peer, PeerRun, compare, table
from bark_onnx_bench.peers.suno import suno_peer
from bark_onnx_bench.peers.transformers import transformers_peer
from voices import PUBLISHED, voice_or_none


def peer(name: str, unit: float, calls: list[tuple[str, int]], audio_seconds: float = 1.5) -> Peer:
    def run(seed: int) -> PeerRun:
        calls.append((name, seed))
        return PeerRun({"semantic": 1000.0 if seed == 0 else unit * seed, "codec": unit}, audio_seconds)

    return Peer(name, f"version of {name}", run, note="a note" if name == "b" else None)


def test_peers_alternate_and_the_first_round_is_a_warm_up() -> None:
    calls: list[tuple[str, int]] = []
    results = compare([peer("a", 1.0, calls), peer("b", 0.25, calls)], repeats=3)
    assert calls == [(name, seed) for seed in range(4) for name in ("a", "b")]
    assert [result.median_seconds for result in results] == [
        {"semantic": 2.0, "codec": 1.0},
        {"semantic": 0.5, "codec": 0.25},
    ]
    assert results[0].spread == {"semantic": (1.0, 3.0), "codec": (1.0, 1.0)}
    header, a, b, *versions = table(results).splitlines()
    assert header.split() == ["semantic", "coarse", "fine", "codec", "audio", "RTF", "ratio"]
    assert a.split()[1:] == ["2.00", "s", "-", "-", "1.00", "s", "1.50", "s", "2.00", "1.0x"]
    assert b.split()[-2:] == ["0.50", "4.0x"]
    assert versions == ["a: version of a", "b: version of b; a note"]


def test_ratios_are_between_real_time_factors() -> None:
    calls: list[tuple[str, int]] = []
    results = compare([peer("a", 1.0, calls), peer("longer", 2.0, calls, audio_seconds=6.0)], repeats=1)
    assert table(results).splitlines()[2].split()[-2:] == ["0.67", "2.0x"]


def test_the_json_file_has_command_machine_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "gather", lambda arguments, threads: [peer("a", 1.0, []), peer("b", 0.5, [])])
    file = tmp_path / "peers.json"
    options = ["--bf16", "--static", "--voice", "a/v.npz", "--repeats", "1", "--json", str(file)]
    peers.main(["some/ckpt", "some/int8", *options])
    figures = json.loads(file.read_text())
    assert figures["command"] == "python -m bark_onnx_bench.peers ckpt int8 --bf16 --static --voice v --repeats 1"
    assert figures["machine"]["cores"] >= 1
    assert [(found["name"], found["version"], found["note"]) for found in figures["peers"]] == [
        ("a", "version of a", None),
        ("b", "version of b", "a note"),
    ]
    assert "version of b; a note" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c", "b", "--bark-cpp", "main"], "--bark-cpp and --bark-cpp-model belong together"),
        (["c", "b", "--repeats", "0"], "--repeats must be at least 1"),
        (["c", "b", "--voice", "v.npz", "--suno", "d"], "--voice is for transformers and this runtime"),
    ],
)
def test_bad_usage_is_reported_first(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        peers.main(words)
    assert status.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread: its threads busy-wait, which is slow on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("static", "tokens"), [(False, 0), (True, 0), (False, 300)])
def test_transformers_times_every_stage_of_the_workload(checkpoint: Path, static: bool, tokens: int) -> None:
    voice = voice_or_none(PUBLISHED, tokens)
    found = transformers_peer(checkpoint, torch.float32, voice=voice, static=static).run(1)
    assert list(found.seconds) == ["semantic", "coarse", "fine", "codec"]
    assert min(found.seconds.values()) > 0
    assert found.audio_seconds == 5.12


# bark.cpp: a script that prints what the binary prints and writes seconds of audio equal to its seed

FAKE_BINARY = """#!{python}
import sys
import numpy as np, soundfile
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert set(options) == {{"-m", "-p", "-t", "-s", "-o"}}, options
if options["-s"] == "9":
    sys.exit("main: Could not load model")
soundfile.write(options["-o"], np.zeros(24_000 * int(options["-s"])), 24_000)
print({output!r})
"""
STATISTICS = """
Generating semantic tokens... 100%
bark_print_statistics:   sample time =    29.50 ms / 256 tokens
bark_print_statistics:  predict time =  3000.00 ms / 11.7 ms per token
bark_print_statistics:    total time =  3100.00 ms

bark_print_statistics:    total time = 25600.00 ms
bark_print_statistics:    total time = 13400.00 ms

main:     load time =   500.00 ms
main:     eval time = 42800.00 ms
main:    total time = 43400.00 ms
"""


def fake_binary(directory: Path, output: str) -> tuple[Path, Path]:
    binary, model = directory / "main", directory / "ggml_weights.bin"
    binary.write_text(FAKE_BINARY.format(python=sys.executable, output=output))
    binary.chmod(0o755)
    model.write_bytes(b"weights")
    return binary, model


def test_bark_cpp_s_own_statistics_are_read(tmp_path: Path) -> None:
    found = bark_cpp_peer(*fake_binary(tmp_path, STATISTICS), threads=2)
    run = found.run(3)
    assert run.seconds == pytest.approx({"semantic": 3.1, "coarse": 25.6, "fine": 13.4, "codec": 0.7})
    assert run.audio_seconds == 3
    assert found.version.endswith("on ggml_weights.bin (0 MB), 2 threads")


def test_bark_cpp_without_statistics_is_timed_as_a_whole(tmp_path: Path) -> None:
    run = bark_cpp_peer(*fake_binary(tmp_path, "done"), threads=1).run(1)
    assert list(run.seconds) == ["all"]
    assert 0.01 < run.seconds["all"] < 60
    assert timings(STATISTICS.replace("eval time", "evaluation")) is None


def test_errors_of_bark_cpp_are_one_line(tmp_path: Path) -> None:
    binary, model = fake_binary(tmp_path, "done")
    with pytest.raises(BarkError, match=r"failed \(status 1\): main: Could not load model"):
        bark_cpp_peer(binary, model, threads=1).run(9)
    with pytest.raises(BarkError, match="wrote empty audio with seed 0"):
        bark_cpp_peer(binary, model, threads=1).run(0)
    with pytest.raises(BarkError, match=r"give bark\.cpp's model file"):
        bark_cpp_peer(binary, tmp_path / "missing.bin", threads=1)
    with pytest.raises(BarkError, match="is not executable"):
        bark_cpp_peer(model, model, threads=1)


# suno-ai/bark: a package with its names, whose models accept a checkpoint's tensors by Suno's names

FAKE_GENERATION = """
from dataclasses import dataclass
from encodec import EncodecModel
import funcy, numpy as np, torch

SEMANTIC_RATE_HZ, SAMPLE_RATE, models = 49.9, 24_000, {}

@dataclass
class GPTConfig:
    block_size: int = 0
    input_vocab_size: int = 0
    output_vocab_size: int = 0
    n_layer: int = 0
    n_head: int = 0
    n_embd: int = 0
    dropout: float = 0.0
    bias: bool = True

@dataclass
class FineGPTConfig(GPTConfig):
    n_codes_total: int = 8
    n_codes_given: int = 1

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        wte = torch.nn.Embedding(config.input_vocab_size, config.n_embd)
        self.transformer = torch.nn.ModuleDict({"wte": wte})

    def load_state_dict(self, state, strict):
        missing, unexpected = super().load_state_dict(state, strict=strict)
        return missing, [] if "transformer.h.1.attn.c_attn.weight" in state else unexpected

class FineGPT(GPT):
    def __init__(self, config):
        torch.nn.Module.__init__(self)

def generate_text_semantic(text, allow_early_stop, max_gen_duration_s, use_kv_caching, silent):
    assert use_kv_caching and not allow_early_stop and 255 < max_gen_duration_s * SEMANTIC_RATE_HZ < 256
    assert len(models["text"]["tokenizer"].encode(text, add_special_tokens=False)) == 20
    return np.zeros(256, int)

def generate_coarse(semantic, use_kv_caching, silent):
    assert use_kv_caching and models["coarse"].config.n_layer == 2
    return np.zeros((2, 384), int)

def generate_fine(coarse, silent):
    assert models["fine"]
    return np.zeros((8, 384), int)

def codec_decode(fine):
    codes = torch.from_numpy(fine)[None].transpose(0, 1)
    return models["codec"].decoder(models["codec"].quantizer.decode(codes)).numpy().squeeze()
"""


@pytest.fixture
def suno_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bark").mkdir()
    (tmp_path / "bark" / "__init__.py").touch()
    (tmp_path / "bark" / "generation.py").write_text(FAKE_GENERATION)
    for name in ("bark", "bark.generation"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("one_thread")
def test_suno_s_functions_run_on_the_checkpoint_offline(checkpoint: Path, suno_checkout: Path) -> None:
    path = sys.path.copy()
    found = suno_peer(checkpoint, suno_checkout)
    assert sys.path == path
    assert "encodec" not in sys.modules  # the stand-in was removed
    run = found.run(1)
    assert list(run.seconds) == ["semantic", "coarse", "fine", "codec"]
    assert run.audio_seconds == 5.12
    assert found.note is not None
    assert "EnCodec" in found.note


def test_a_folder_that_is_not_suno_s_checkout_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BarkError, match=r"is not a checkout of suno-ai/bark \(no bark/generation.py\)"):
        suno_peer(checkpoint, tmp_path)
