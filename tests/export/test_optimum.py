"""`optimum-cli export bark-onnx`: the real program of optimum, which finds the plugin by itself."""

import sys
from pathlib import Path

import click
from transformers import BarkModel

from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES
from bark_onnx_bench.checkpoints import save_huggingface, write_tokenizer
from bark_onnx_export.cli import export
from checkpoint_files import small_model as small_model
from run_command import OPTIMUM, assert_silent, run
from traces import with_traces

_WITHOUT_ONNX_RUNTIME = """
import sys
from optimum.commands.optimum_cli import main  # looks for ONNX Runtime itself

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
sys.argv = ["optimum-cli", "export", "--help"]
main()
"""


def test_a_checkpoint_becomes_a_bundle(small_model: BarkModel, traced_once: Path, tmp_path: Path) -> None:
    """With the options of `bark-onnx export`."""
    checkpoint = save_huggingface(small_model, tmp_path / "checkpoint")
    write_tokenizer(checkpoint)
    program = [*with_traces(traced_once, "optimum.commands.optimum_cli"), *OPTIMUM[1:]]
    arguments = ["--model", checkpoint, "--precision", "int8", tmp_path / "bundle", "--no-verify", "--quiet"]
    assert_silent(run(*arguments, command=program))
    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.manifest.precision == "int8"
    assert {bundle.graph(stage).name for stage in STAGES} <= bundle.manifest.files.keys()


def test_the_help_shows_the_options_of_the_exporter() -> None:
    result = run("--help", command=OPTIMUM)
    assert (result.returncode, result.stderr) == (0, b"")
    shown = " ".join(result.stdout.decode().split())
    options = [option for option in export.params if isinstance(option, click.Option)]
    assert [name for option in options for name in option.opts if f" {name}" not in shown] == []
    assert "-m CHECKPOINT, --model CHECKPOINT" in shown
    assert "{fp32,fp16,bf16,int8,int4,mixed,w8a16,w4a16}" in shown
    assert "int8, int4 and mixed are for CPUs;" in shown


def test_wrong_usage_is_explained(tmp_path: Path) -> None:
    result = run("--model", tmp_path, "--precision", "int7", tmp_path / "out", command=OPTIMUM)
    assert result.returncode == 2
    assert b"invalid choice: 'int7'" in result.stderr


def test_without_onnx_runtime_the_other_commands_of_optimum_work() -> None:
    result = run("-c", _WITHOUT_ONNX_RUNTIME, command=[sys.executable])
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"bark-onnx" not in result.stdout
