"""`say --file`: files of several formats, and the notes about what is not spoken."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bark_onnx.command.cli import main

ONCE = ["--device", "cpu", "--threads", "1", "--retries", "0", "--seed", "3", "--max-seconds", "0.3"]
MARKDOWN = "# The dog\n\nHello **world**.\n\n```\ncode\n```\n"


def say(bundle: Path, *arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["say", *ONCE, "--bundle", str(bundle), *map(str, arguments)], input=stdin)


def subtitles(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line[0].isdigit()]


@pytest.mark.parametrize("name", ["a.md", "a.txt", "-"])
def test_a_file_is_spoken_without_its_marks(short_bundle: Path, tmp_path: Path, name: str) -> None:
    source = "-" if name == "-" else tmp_path / name
    if name != "-":
        (tmp_path / name).write_text(MARKDOWN)
    result = say(
        short_bundle, "-f", source, "-o", tmp_path / "out.wav", "--subtitles", tmp_path / "cues.srt", stdin=MARKDOWN
    )
    assert (result.exit_code, result.exception) == (0, None)
    assert subtitles(tmp_path / "cues.srt") == ["The dog", "Hello world."]
    shown = "the text" if name == "-" else name
    assert result.stderr.splitlines()[0] == (
        f"bark-onnx: {shown}: read as markdown; left out: marks (3), lines of code (1); --format text speaks all of it"
    )


def test_a_quiet_command_says_nothing_about_formats(short_bundle: Path, tmp_path: Path) -> None:
    result = say(short_bundle, "-f", "-", "-q", "-o", tmp_path / "out.wav", stdin=MARKDOWN)
    assert result.stderr == ""


def test_a_format_can_be_given(short_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Hello **world**.")
    arguments = ["-f", tmp_path / "a.md", "-o", tmp_path / "out.wav", "--subtitles", tmp_path / "cues.srt"]
    result = say(short_bundle, *arguments, "--format", "text")
    assert subtitles(tmp_path / "cues.srt") == ["Hello **world**."]
    assert "read as" not in result.stderr
    result = say(short_bundle, *arguments, "--format", "markdown")
    assert result.stderr.splitlines()[0] == "bark-onnx: a.md: read as markdown; left out: marks (2)"


def test_a_format_is_for_files(short_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["say", "Hello", "--format", "html", "--bundle", str(short_bundle)])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: --format is for a text of --file")


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("a.jsonl", b'{"text": "Hello"}\n', "a.jsonl is JSON, not a text"),
        ("a.csv", b"a,b\n", "a.csv is a table, not a text"),
        ("a.pdf", b"%PDF-1.4 \xff\xfe", "a.pdf is a PDF, not text"),
        ("a.docx", b"PK\x03\x04\xff", "is a ZIP file"),
        ("a.html", b"<html><script>x</script></html>", "there is nothing to say"),
        (
            "a.txt",
            "Γειά σου".encode(),
            "the model's vocabulary lacks all words of the text: Γειά, σου (it covers Latin)",
        ),
    ],
)
def test_what_cannot_be_spoken_is_told_in_one_line(
    short_bundle: Path, tmp_path: Path, name: str, content: bytes, fragment: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = say(short_bundle, "-q", "-f", tmp_path / name, "-o", tmp_path / "out.wav")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr
    assert fragment in result.stderr
    assert not (tmp_path / "out.wav").exists()


def test_a_script_keeps_its_comments(short_bundle: Path, tmp_path: Path) -> None:
    result = say(
        short_bundle, "-f", "-", "--voice", "none", "--cast", "HOST=none", "-o", tmp_path / "out.wav",
        stdin="# one\n**HOST:** Hi.\n",
    )  # fmt: skip
    assert "read as" not in result.stderr


def test_lost_words_are_named_once(short_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hello Ελλάδα.\n\nThe Κόσμε.\n\nElla 😀.")
    result = say(short_bundle, "-f", tmp_path / "a.txt", "-o", tmp_path / "out.wav", "--retries", "1")
    assert [line for line in result.stderr.splitlines() if "vocabulary" in line] == [
        "bark-onnx: warning: not spoken, as the model's vocabulary lacks them: Ελλάδα, Κόσμε, 😀 (it covers Latin)"
    ]


def test_info_names_the_scripts(short_bundle: Path) -> None:
    lines = CliRunner().invoke(main, ["info", str(short_bundle)]).stdout.splitlines()
    assert "scripts    Latin (letters that the vocabulary has)" in lines
