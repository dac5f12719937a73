"""The same rule at every door: Python, the command and batch jobs. The server has tests of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx import (
    Bark,
    BarkError,
    BatchOptions,
    GenerationOptions,
    NarrationOptions,
    Row,
    Speech,
    VoicePreset,
    speak_rows,
)
from bark_onnx.command.cli import main
from bark_onnx.jobs.job import check_job
from bark_onnx.long.guards import Guards
from bark_onnx.long.planner import Planner
from bark_onnx.normalizing.libraries import LIBRARIES
from voices import same_tokens

for library in LIBRARIES:
    pytest.importorskip(library)

WRITTEN, READ = "Give me 5 of 7 cats.", "Give me five of seven cats."
LONG = "The bridge is old, and nobody crosses it any more. " * 8
VOICE = "v2/en_speaker_6"
EARLY = GenerationOptions(max_seconds=0.3)


@pytest.fixture(scope="module")
def voiced(bundle_with_voice: Path) -> Bark:
    return Bark.load(bundle_with_voice, device="cpu", threads=1)


@pytest.fixture(scope="module")
def read(voiced: Bark) -> Speech:
    """What the words are spoken as."""
    return voiced.generate(READ, voice=VOICE, options=EARLY, seed=2, normalize="off")


def test_the_language_of_the_voice_is_taken(voiced: Bark, read: Speech) -> None:
    preset = voiced.preset(VOICE)
    arguments = {"options": EARLY, "seed": 2}
    assert same_tokens(voiced.generate(WRITTEN, voice=VOICE, **arguments).tokens, read.tokens)
    assert same_tokens(voiced.generate(WRITTEN, voice=preset, normalize="en", **arguments).tokens, read.tokens)
    assert same_tokens(
        voiced.generate(WRITTEN, voice=VOICE, single=True, normalize="en", **arguments).tokens, read.tokens
    )
    written = voiced.generate(WRITTEN, voice=VOICE, normalize="off", **arguments)
    assert not same_tokens(written.tokens, read.tokens)
    assert same_tokens(voiced.generate(WRITTEN, voice=preset, **arguments).tokens, written.tokens)
    assert same_tokens(voiced.generate(WRITTEN, voice=VOICE, single=True, **arguments).tokens, written.tokens)


def said(tokens: VoicePreset | None) -> list[int]:
    """The semantic tokens: a stream has other fine codes."""
    assert tokens is not None
    return tokens.semantic.tolist()


def test_streams_and_rows_do_the_same(voiced: Bark, read: Speech) -> None:
    for text in (WRITTEN, iter(["Give me ", "5 of 7 ca", "ts."])):
        stream = voiced.stream(text, voice=VOICE, options=EARLY, seed=2)
        list(stream)
        assert said(stream.tokens) == said(read.tokens)
        assert [(passage.text, passage.spoken) for passage in stream.passages] == [(WRITTEN, READ)]
    (row,) = speak_rows(voiced, [Row(1, "a", WRITTEN, VOICE, 2, EARLY)])
    assert row.speech is not None
    assert same_tokens(row.speech.tokens, read.tokens)


def test_subtitles_of_a_long_text_show_what_is_written(voiced: Bark) -> None:
    text, once = f"{WRITTEN} " * 9, NarrationOptions(guards=Guards(retries=0))
    passages = list(voiced.generate_long(text, voice=VOICE, options=EARLY, seed=2, narration=once))
    assert len(passages) > 1
    assert " ".join(passage.text for passage in passages) == text.strip()
    assert all("five of seven" in passage.spoken for passage in passages)
    assert " ".join(cue.text for passage in passages for cue in passage.cues) == text.strip()


def test_a_script_is_read_in_the_language_of_each_voice(voiced: Bark) -> None:
    planner: Planner = voiced._planner
    plan, _ = planner.plan("A: 5.\nB: 5.", cast={"A": VOICE, "B": voiced.preset(VOICE) or VOICE})
    assert [(passage.speaker, passage.text) for passage in plan.passages] == [("A", "Five."), ("B", "5.")]


def test_a_journal_is_of_the_words(voiced: Bark, tmp_path: Path) -> None:
    """A text without anything to rewrite has the same journal in every language; another text has another one."""
    planner: Planner = voiced._planner

    def fingerprint(text: str, normalize: str) -> str:
        return planner.plan(text, voice=VOICE, seed=1, normalize=normalize)[0].fingerprint()

    assert fingerprint(LONG, "en") == fingerprint(LONG, "off")
    assert fingerprint(WRITTEN, "en") != fingerprint(WRITTEN, "off") != fingerprint(WRITTEN, "de")


def test_a_batch_job_is_another_one_with_another_language(bundle_with_voice: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "5"}\n')
    bundle = str(bundle_with_voice)
    documents = [check_job(lines, BatchOptions(bundle, normalize=way), 1).document for way in ("auto", "en", "off")]
    assert [document.get("normalize") for document in documents] == ["auto", "en", None]
    with pytest.raises(BarkError, match="normalize must be"):
        BatchOptions(normalize="xx")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_say_shows_the_words(
    bundle_with_voice: Path, tmp_path: Path, stream: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_onnx.command.say.piped_text", lambda: iter(WRITTEN))  # a stream's standard input
    options = ["--voice", VOICE, "--max-seconds", "0.3", "--seed", "2", "--quiet", "--show-text", *stream]
    files = ["--bundle", str(bundle_with_voice), "-o", str(tmp_path / "out.wav")]
    result = CliRunner().invoke(main, ["say", WRITTEN, *options, *files])
    assert (result.exit_code, result.stderr) == (0, f"{READ}\n"), result.output
    piped = CliRunner().invoke(main, ["say", "-", *options, *files], input=WRITTEN)
    assert (piped.exit_code, piped.stderr.splitlines()[0]) == (0, READ), piped.output
    result = CliRunner().invoke(main, ["say", WRITTEN, *options, *files, "--single"])
    assert result.stderr == f"{WRITTEN}\n"


def test_without_the_libraries_say_notes_that_digits_are_spoken(
    bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("command.say", "normalizing.choice"):
        monkeypatch.setattr(f"bark_onnx.{module}.missing", lambda: ("babel",))
    files = ["--bundle", str(bundle_with_voice), "-o", str(tmp_path / "out.wav")]
    options = ["--voice", VOICE, "--max-seconds", "0.3", "--seed", "2"]
    result = CliRunner().invoke(main, ["say", WRITTEN, *options, *files])
    assert result.stderr.startswith("bark-onnx: numbers are spoken as they are written; to read them as words, ")
    assert "numbers" not in CliRunner().invoke(main, ["say", READ, *options, *files]).stderr


def test_without_a_language_say_notes_that_digits_are_spoken(bundle_with_voice: Path, tmp_path: Path) -> None:
    command = ["say", WRITTEN, "--max-seconds", "0.3", "--seed", "2", "--bundle", str(bundle_with_voice)]
    command += ["-o", str(tmp_path / "out.wav")]
    noted = CliRunner().invoke(main, command).stderr.splitlines()[0]
    assert noted.endswith("to read them as words, give a language, such as --normalize en")
    assert "numbers" not in CliRunner().invoke(main, [*command, "--normalize", "off"]).stderr
