"""The journal: what was interrupted goes on with the same samples, and nothing else is touched."""

import json
import os
import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, Journal
from bark_onnx.long.guards import Guards
from bark_onnx.long.journal import PLAN, Record
from bark_onnx.long.narration import HISTORIES, History, NarrationOptions, SpokenPassage
from narrated import SAID, SPACE, make_voice, names, same_tokens

TEXT = "\n\n".join([*SAID, "Is it music?"])
OPTIONS = NarrationOptions(guards=Guards(retries=1), block=2)
VOICE = make_voice(3)
SEED = 3


def narrate(bark: Bark, journal: Path, passages: int | None = None, **changes: Any) -> list[SpokenPassage]:
    """All passages, or as many as come before an interruption."""
    arguments = {"text": TEXT, "voice": VOICE, "seed": SEED, "narration": OPTIONS, "journal": journal} | changes
    return list(islice(bark.generate_long(**arguments), passages))


def assert_same(one: list[SpokenPassage], other: list[SpokenPassage]) -> None:
    """All of it, to the bit."""
    for mine, theirs in zip(one, other, strict=True):
        assert same_tokens(mine.tokens, theirs.tokens)
        assert mine.waveform.tobytes() == theirs.waveform.tobytes()
        told = ("text", "speaker", "start", "end", "seed", "attempts", "problems", "rejected")
        assert [getattr(mine, name) for name in told] == [getattr(theirs, name) for name in told]


def written(directory: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a file has been written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.iterdir()}


def contents(directory: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in directory.iterdir()}


@pytest.fixture(scope="module")
def finished(tiny: Bark, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SpokenPassage]]:
    """The journal of a job that was done at once, and what came of it."""
    directory = tmp_path_factory.mktemp("finished") / "journal"
    spoken = narrate(tiny, directory)
    assert any(passage.rejected for passage in spoken)  # so that there is something to be told again
    return directory, spoken


@pytest.fixture
def journal(finished: tuple[Path, list[SpokenPassage]], tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished[0], tmp_path / "journal")


# Going on


@pytest.mark.parametrize("history", HISTORIES)
def test_an_interrupted_job_ends_as_if_it_never_had_been(tiny: Bark, tmp_path: Path, history: History) -> None:
    whole = narrate(tiny, tmp_path / "whole", history=history)
    for passages in (1, 4):
        directory = tmp_path / str(passages)
        assert_same(narrate(tiny, directory, passages, history=history), whole[:passages])
        kept = written(directory)
        assert passages < len(kept) <= passages + 2  # with the plan, and the block's other passage
        assert_same(narrate(tiny, directory, history=history), whole)
        assert written(directory).items() >= kept.items()


def test_without_a_seed_the_job_keeps_its_own(tiny: Bark, tmp_path: Path) -> None:
    first = narrate(tiny, tmp_path / "journal", 2, seed=None)
    rest = narrate(tiny, tmp_path / "journal", seed=None)
    assert_same(rest[:2], first)
    seed = Journal.seed(tmp_path / "journal")
    assert seed == json.loads((tmp_path / "journal" / PLAN).read_text())["seed"]
    assert_same(narrate(tiny, tmp_path / "again", seed=seed), rest)


def test_a_finished_job_is_not_spoken_again(
    tiny: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path
) -> None:
    before = written(journal)
    assert_same(narrate(tiny, journal), finished[1])
    assert written(journal) == before


def test_a_block_with_a_passage_missing_is_spoken_anew(
    tiny: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path
) -> None:
    """And no other."""
    before = written(journal)
    (journal / "00003.npz").unlink()
    assert_same(narrate(tiny, journal), finished[1])
    changed = {name for name, file in written(journal).items() if before[name] != file}
    assert changed == {"00002.npz", "00003.npz"}


@pytest.mark.parametrize(
    "changes",
    [
        {"text": TEXT + "!"},
        {"voice": make_voice(4)},
        {"voice": None},
        {"seed": SEED + 1},
        {"history": "rolling"},
        {"options": GenerationOptions(top_k=50)},
        {"narration": NarrationOptions(guards=Guards(retries=2), block=2)},
        {"narration": NarrationOptions(guards=Guards(retries=1), block=3)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_job_leaves_a_journal_alone(tiny: Bark, journal: Path, changes: dict[str, Any]) -> None:
    before = contents(journal)
    with pytest.raises(BarkError, match=r"journal of another job .*delete it to begin anew"):
        narrate(tiny, journal, **changes)
    assert contents(journal) == before


def test_another_bundle_is_another_job(tiny_bundle: Path, journal: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"model": "another"}))
    with pytest.raises(BarkError, match="journal of another job"):
        narrate(Bark.load(bundle, device="cpu"), journal)


def test_a_passage_is_kept_as_it_was(finished: tuple[Path, list[SpokenPassage]], tmp_path: Path) -> None:
    spoken = next(passage for passage in finished[1] if passage.rejected)
    journal = Journal(tmp_path / "journal", "fingerprint", 2**64 - 1)
    assert Journal.seed(tmp_path / "journal") == 2**64 - 1
    assert journal.load(0, SPACE) is None
    for tokens in (spoken.tokens, None):
        record = Record(spoken.waveform, tokens, 2**32 - 1, 2, spoken.problems, spoken.rejected)
        journal.save(0, record)
        loaded = journal.load(0, SPACE)
        assert loaded is not None
        assert loaded.waveform.tobytes() == record.waveform.tobytes()
        assert same_tokens(loaded.tokens, tokens)
        assert names(loaded.rejected) == names(record.rejected)
        assert {**asdict(loaded), "waveform": 0, "tokens": 0} == {**asdict(record), "waveform": 0, "tokens": 0}


def test_a_damaged_journal_makes_the_same_speech(
    tiny: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path, tmp_path: Path
) -> None:
    """What is no file is not read, what a link points to is not written."""
    (journal / "00000.npz").write_bytes((journal / "00000.npz").read_bytes()[:-99])
    (journal / "00002.npz").unlink()
    os.mkfifo(journal / "00002.npz")
    (tmp_path / "letter").write_text("dear")
    (journal / "00004.npz").unlink()
    (journal / "00004.npz").symlink_to(tmp_path / "letter")
    assert_same(narrate(tiny, journal), finished[1])
    assert_same(narrate(tiny, journal), finished[1])
    assert (tmp_path / "letter").read_text() == "dear"
    assert all(path.is_file() and not path.is_symlink() for path in journal.iterdir())


# Directories that are no journals


def test_a_directory_of_something_else_is_left_alone(tiny: Bark, tmp_path: Path) -> None:
    (tmp_path / "00000.npz").write_bytes(b"mine")
    for action in (lambda: narrate(tiny, tmp_path), lambda: Journal.remove(tmp_path)):
        with pytest.raises(BarkError, match="is not a journal"):
            action()
    assert contents(tmp_path) == {"00000.npz": b"mine"}


def test_where_no_journal_can_be_is_told(tiny: Bark, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "nowhere" / "journal", tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(BarkError) as caught:
            narrate(tiny, path)
        assert str(path) in str(caught.value)
    assert contents(tmp_path) == {"file": b"mine"}


# Removing


def test_removing_takes_what_is_the_journals(journal: Path) -> None:
    """What a killed process was writing too."""
    for name in (".00001-ab_cdef1.npz", ".plan-ab_cdef1.json", "100000.npz"):
        (journal / name).write_bytes(b"half")
    Journal.remove(journal)
    assert not journal.exists()
    Journal.remove(journal)


def test_removing_leaves_what_is_somebody_elses(journal: Path) -> None:
    mine = {"notes.txt": b"mine", "00001.wav": b"mine", "1.npz": b"mine", ".00001.npz": b"mine"}
    for name, content in mine.items():
        (journal / name).write_bytes(content)
    Journal.remove(journal)
    assert contents(journal) == mine


def test_a_job_that_was_killed_before_its_plan_was_written_begins(
    tiny: Bark, finished: tuple[Path, list[SpokenPassage]], tmp_path: Path
) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    (directory / ".plan-ab_cdef1.json").write_text('{"form')
    assert_same(narrate(tiny, directory), finished[1])
    Journal.remove(directory)
    assert not directory.exists()
