"""The commands around an export: `export` itself, and what info, voices, verify and say do with its bundle."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest

from bark_onnx.command.info import _lines
from bark_onnx.model.bundle import Bundle, list_files
from bark_onnx.model.manifest import EXPERIMENTAL_ON_GPU, MANIFEST, STAGES
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.cli import _summary, export
from full import FULL
from run_command import COMMAND, SAY, Result, assert_fails, assert_silent, run
from tiny import TINY, VOICE
from traces import with_traces
from voices import PUBLISHED, make_voice


@dataclass(frozen=True)
class WholeRun:
    """An export to the directory `bundle`, below the one in which the command runs, and how long it took."""

    command: list[str]
    bundle: Path
    seconds: float


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of made-up voices."""
    directory = tmp_path_factory.mktemp("presets")
    for seed, name in enumerate(("announcer", "v2/en_speaker_10", "v2/en_speaker_6")):
        (directory / name).parent.mkdir(exist_ok=True)
        make_voice(PUBLISHED, 100, seed).save(directory / f"{name}.npz")
    return directory


@pytest.fixture(scope="module")
def export_run(
    checkpoint: Path, presets: Path, traced_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """An export by the command line, and what came of it. In the full form it uses no traces of other exports."""
    target = tmp_path_factory.mktemp("exported") / "int8"
    arguments = ("export", checkpoint, target, "--precision", "int8", "--voices", presets)
    return target, run(*arguments, command=COMMAND if FULL else with_traces(traced_once))


@pytest.fixture(scope="module")
def exported(export_run: tuple[Path, Result]) -> Path:
    assert export_run[1].returncode == 0, export_run[1].stderr.decode()
    return export_run[0]


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another token space."""
    directory = tmp_path_factory.mktemp("other") / "checkpoint"
    save_huggingface(make_bark(vocabulary=SMALL_VOCABULARY), directory)
    write_tokenizer(directory)
    return directory


# info, voices, verify


def test_info_says_what_a_bundle_is(exported: Path) -> None:
    result = run("info", exported)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.decode().splitlines())
    assert lines["model"] == "bark-test"
    assert lines["precision"].startswith("int8, static")
    assert all("weights int8, embeddings fp16" in lines[stage] for stage in STAGES[:3])
    assert "2 layers, 2 heads, width 32" in lines["semantic"]
    assert "weights fp32" in lines["codec"]
    assert lines["voices"] == "3"
    assert lines["files"].startswith(f"{len(Bundle.open(exported).manifest.files)}, ")


@pytest.mark.parametrize("precision", EXPERIMENTAL_ON_GPU)
def test_precisions_that_have_not_run_on_a_gpu_are_marked(gpu_bundle: Path, exported: Path, precision: str) -> None:
    """In `info` for bundles for GPUs, and in the help of `export`."""
    manifest = replace(Bundle.open(gpu_bundle).manifest, precision=precision, kv_layout="portable")
    (line,) = (line for line in _lines(manifest, 0, []) if line.startswith("gpu "))
    assert line.split(maxsplit=1)[1] == f"experimental: {precision} has not run on a GPU yet"
    assert not [line for line in _lines(Bundle.open(exported).manifest, 0, []) if "experimental" in line]
    (option,) = (option for option in export.params if option.name == "precision")
    assert isinstance(option, click.Option)
    assert precision in (option.help or "").partition("experimental: ")[2]


def test_voices_are_listed_one_a_line(exported: Path) -> None:
    assert run("voices", exported).stdout == b"announcer\nv2/en_speaker_10\nv2/en_speaker_6\n"


def test_verify_runs_every_graph(exported: Path) -> None:
    result = run("verify", exported)
    assert (result.returncode, result.stderr) == (0, b"")
    assert f"{len(Bundle.open(exported).manifest.files)} files" in result.stdout.decode()


def test_verify_against_another_bundle(bundle: Path, exported: Path) -> None:
    result = run("verify", exported, "--against", bundle, "--tokens", "20")
    assert (result.returncode, result.stderr) == (0, b"")
    title, _, *rows = result.stdout.decode().splitlines()
    assert title == "int8 against fp32; 20 tokens; voice: generated from seed 0"
    assert [row.split()[0] for row in rows] == list(STAGES)
    assert "150.0 dB" in rows[-1]  # the codec is the same


def test_verify_fails_where_the_precision_does_not_allow_the_error(bundle: Path, exported: Path) -> None:
    """An fp32 bundle is not allowed what an int8 bundle is."""
    result = run("verify", bundle, "--against", exported, "--tokens", "20")
    assert_fails(result, "further", "semantic: ", "coarse: ", "fine: ", "kl ", "(limit 1e-08)")
    assert result.stdout.decode().count("over the limit") == 3


def test_verify_against_the_checkpoint(bundle: Path, checkpoint: Path) -> None:
    result = run("verify", bundle, "--checkpoint", checkpoint, "--tokens", "30")
    assert (result.returncode, result.stderr) == (0, b"")
    title, _, *rows = result.stdout.decode().splitlines()
    assert title == "fp32 against torch; 30 tokens; voice: generated from seed 0"
    assert [row.split()[0] for row in rows] == list(STAGES)
    assert "over the limit" not in result.stdout.decode()


def test_verify_against_another_model_fails(bundle: Path, checkpoint: Path, other_checkpoint: Path) -> None:
    """In whichever direction: it may not even have the same ids."""
    assert_fails(run("verify", bundle, "--against", TINY))
    assert_fails(run("verify", TINY, "--against", bundle))
    assert_fails(run("verify", bundle, "--checkpoint", other_checkpoint))
    assert_fails(run("verify", TINY, "--checkpoint", checkpoint))


# export


def test_export_writes_a_bundle_and_says_how_good_it_is(export_run: tuple[Path, Result], tmp_path: Path) -> None:
    target, result = export_run
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "int8 is for CPUs: use fp16 on a GPU"
    assert lines[1] == "voices: 3"
    assert [line.split()[0] for line in lines[-6:-2]] == list(STAGES)  # the table
    size = sum(entry.bytes for entry in Bundle.open(target).manifest.files.values())
    assert re.fullmatch(rf"wrote {re.escape(str(target))}: {size / 1e6:.1f} MB, 3 voices, in \d+ s", lines[-2])
    program, *arguments = shlex.split(lines[-1].removeprefix("try it: "))
    assert program == "bark-onnx"
    assert_silent(run(*arguments, "--quiet", "--max-seconds", "0.3", cwd=tmp_path))
    assert Bundle.open(target).manifest.precision == "int8"
    assert list(target.parent.iterdir()) == [target]


def test_the_end_of_an_export_says_how_to_add_voices(bundle: Path, bundle_with_voice: Path) -> None:
    """What is written to, its size, the voices, the time, and the command to type next."""
    size, advice, following = _summary(bundle, 3.4)
    assert re.fullmatch(rf"wrote {re.escape(str(bundle))}: [\d.]+ MB, 0 voices, in 3 s", size)
    assert "export again with --voices DIR" in advice
    assert following == f"try it: bark-onnx say Hello. --bundle {bundle}"
    size, following = _summary(bundle_with_voice, 3.4)
    assert "1 voice, in" in size
    assert following.endswith(f"--voice {VOICE}")


def test_export_does_not_overwrite(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    before = (bundle / MANIFEST).read_bytes()
    assert_fails(run("export", checkpoint, bundle), f"{bundle} exists already", "--force")
    # Also before anything is read or downloaded.
    assert_fails(run("export", "nowhere", bundle, "--over-limit"), f"{bundle} exists already", "--force")
    assert (bundle / MANIFEST).read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    assert_fails(run("export", checkpoint, tmp_path / "letters", "--force"), "letters is not a bundle")
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["nowhere", "out"], "nowhere is neither a directory nor a name on the hub"),
        ([".", "out"], "neither a Hugging Face model (config.json"),
    ],
)
def test_export_without_a_checkpoint_fails(tmp_path: Path, arguments: list[str], fragment: str) -> None:
    assert_fails(run("export", *arguments, cwd=tmp_path), fragment)
    assert list(tmp_path.iterdir()) == []


def test_export_without_a_tokenizer_says_where_to_get_one(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer.json", "vocab.txt"))
    assert_fails(run("export", tmp_path / "bare", tmp_path / "out"), "--tokenizer", "bert-base-multilingual-cased")
    assert not (tmp_path / "out").exists()


# What was exported, spoken and piped


def test_say_takes_a_voice_of_the_bundles(exported: Path, presets: Path) -> None:
    by_name = run(*SAY, "--bundle", exported, "-o", "-", "--voice", "v2/en_speaker_6")
    by_path = run(*SAY, "--bundle", exported, "-o", "-", "--voice", presets / "v2/en_speaker_6.npz")
    assert (by_name.returncode, by_name.stderr) == (0, b"")
    assert by_name.stdout == by_path.stdout


# Ended by a signal


@pytest.fixture(scope="module")
def whole_run(checkpoint: Path, bundle: Path, traced_once: Path, tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """An export that nothing ends. The networks were traced for `bundle`: most of its time is for what is written."""
    target = tmp_path_factory.mktemp("whole") / "bundle"
    command = [*with_traces(traced_once), "export", str(checkpoint), "bundle", "--no-verify", "--quiet", "--force"]
    begun = time.monotonic()
    assert_silent(run(cwd=target.parent, command=command))
    return WholeRun(command, target, time.monotonic() - begun)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("moment", [pytest.param(0.7, marks=pytest.mark.full), 0.9])
def test_sigterm_at_any_moment_of_an_export(whole_run: WholeRun, tmp_path: Path, moment: float) -> None:
    """What was there before is still there, or the new bundle is."""
    target = shutil.copytree(whole_run.bundle, tmp_path / "bundle")
    with subprocess.Popen(whole_run.command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(moment * whole_run.seconds)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 0), errors
    assert errors == b""
    assert list(tmp_path.iterdir()) == [target]
    opened = Bundle.open(target)
    assert opened.manifest.precision == "fp32"
    assert opened.manifest.files == list_files(target)
