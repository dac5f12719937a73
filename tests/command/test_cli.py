"""The command line over the embedded bundle, nano: described, verified, spoken with its voices; and the help."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx import __version__
from bark_onnx.command.cli import main
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES
from bark_onnx.model.place import EMBEDDED
from run_command import COMMAND, COMMANDS, SAY, run

# info, voices, verify


def test_info_says_what_a_bundle_is() -> None:
    result = run("info", EMBEDDED)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.decode().splitlines())
    assert lines["model"] == "bark-nano"
    assert lines["precision"].startswith("int8, static")
    assert all("weights int8, embeddings fp16" in lines[stage] for stage in STAGES[:3])
    assert "5 layers, 4 heads, width 224" in lines["semantic"]
    assert "weights fp32" in lines["codec"]
    assert lines["voices"] == "2"
    assert lines["files"].startswith(f"{len(Bundle.open(EMBEDDED).manifest.files)}, ")


def test_voices_are_listed_one_a_line(bundle_with_voice: Path) -> None:
    assert run("voices", EMBEDDED).stdout == b"en_female\nen_male\n"
    assert run("voices", bundle_with_voice).stdout == b"v2/en_speaker_6\n"


def test_verify_runs_every_graph(bundle: Path) -> None:
    result = run("verify", bundle)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "5 files" in result.stdout.decode()


def test_verify_against_another_model_fails(bundle: Path) -> None:
    for pair in ((bundle, EMBEDDED), (EMBEDDED, bundle)):
        result = run("verify", pair[0], "--against", pair[1])
        assert result.returncode == 1
        assert b"different models" in result.stderr


# Spoken and piped


def test_say_takes_a_voice_of_the_bundles(bundle_with_voice: Path) -> None:
    name, path = "v2/en_speaker_6", bundle_with_voice / "voices" / "v2" / "en_speaker_6.npz"
    by_name, by_path, without = (
        run(*SAY, "--bundle", bundle_with_voice, "-o", "-", *voice)
        for voice in (["--voice", name], ["--voice", path], [])
    )
    assert (by_name.returncode, by_name.stderr) == (0, b"")
    assert by_name.stdout == by_path.stdout != without.stdout


@pytest.mark.parametrize(
    "arguments", [[*SAY, "-o", "-", "--bundle"], ["info"], ["voices"]], ids=["say", "info", "voices"]
)
def test_a_reader_that_goes_away_is_no_news(bundle: Path, arguments: list[str]) -> None:
    with subprocess.Popen([*COMMAND, *arguments, bundle], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


# Help


def test_every_command_has_help() -> None:
    listed = CliRunner().invoke(main, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name}" in listed.stdout
        for option in ("--help", "-h"):
            result = CliRunner().invoke(main, [name, option])
            assert result.exit_code == 0, result.output
            assert "Usage: " in result.stdout


def test_the_real_command_has_help_and_a_version() -> None:
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, b"")
    assert all(name in result.stdout.decode() for name in COMMANDS)
    assert run("--version").stdout.decode() == f"bark-onnx, version {__version__}\n"
