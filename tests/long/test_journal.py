"""The journal: an interrupted job continues with the same samples, and other files are not touched."""

import errno
import json
import os
import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, Journal
from bark_onnx.long.guards import Guards
from bark_onnx.long.journal import PLAN, Record
from bark_onnx.long.plan import HISTORIES, History, NarrationOptions
from bark_onnx.long.spoken import SpokenPassage
from passages import SAID, SPACE, names
from voices import make_voice, same_tokens

TEXT = "\n\n".join([*SAID, "Is it music?"])
OPTIONS = NarrationOptions(guards=Guards(retries=1), block=2)
VOICE = make_voice(SPACE, seed=3)
SEED = 3


def narrate(bark: Bark, journal: Path, passages: int | None = None, **changes: Any) -> list[SpokenPassage]:
    """Speak all passages, or as many as before an interruption."""
    arguments = {"text": TEXT, "voice": VOICE, "seed": SEED, "narration": OPTIONS, "journal": journal} | changes
    return list(islice(bark.generate_long(**arguments), passages))


def assert_same(one: list[SpokenPassage], other: list[SpokenPassage]) -> None:
    """Compare everything, waveforms bit by bit."""
    for mine, theirs in zip(one, other, strict=True):
        assert same_tokens(mine.tokens, theirs.tokens)
        assert mine.waveform.tobytes() == theirs.waveform.tobytes()
        compared = ("text", "speaker", "start", "end", "seed", "attempts", "problems", "rejected")
        assert [getattr(mine, name) for name in compared] == [getattr(theirs, name) for name in compared]


def written(directory: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again: its inode and its time."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.iterdir()}


def contents(directory: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in directory.iterdir()}


@pytest.fixture(scope="module")
def finished(short: Bark, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SpokenPassage]]:
    """The journal of a job without interruptions, and its passages."""
    directory = tmp_path_factory.mktemp("finished") / "journal"
    spoken = narrate(short, directory)
    assert any(passage.rejected for passage in spoken)  # so that the journal has rejected problems
    return directory, spoken


@pytest.fixture
def journal(finished: tuple[Path, list[SpokenPassage]], tmp_path: Path) -> Path:
    """A copy of the finished job's journal."""
    return shutil.copytree(finished[0], tmp_path / "journal")


# Continuing


@pytest.mark.parametrize("history", HISTORIES)
def test_an_interrupted_job_has_the_same_result(short: Bark, tmp_path: Path, history: History) -> None:
    whole = narrate(short, tmp_path / "whole", history=history)
    for passages in (1, 4):
        directory = tmp_path / str(passages)
        assert_same(narrate(short, directory, passages, history=history), whole[:passages])
        kept = written(directory)
        assert passages < len(kept) <= passages + 2  # the plan, and the other passage of the block
        assert_same(narrate(short, directory, history=history), whole)
        assert written(directory).items() >= kept.items()


def test_a_job_without_a_seed_continues_with_the_one_it_drew(short: Bark, tmp_path: Path) -> None:
    first = narrate(short, tmp_path / "journal", 2, seed=None)
    rest = narrate(short, tmp_path / "journal", seed=None)
    assert_same(rest[:2], first)
    seed = Journal.seed(tmp_path / "journal")
    assert seed == json.loads((tmp_path / "journal" / PLAN).read_text())["seed"]
    assert_same(narrate(short, tmp_path / "again", seed=seed), rest)


@pytest.mark.parametrize("seed", [np.int64(SEED), np.uint8(SEED), float(SEED)], ids=repr)
def test_seeds_and_options_may_be_numpy_scalars(
    short: Bark, finished: tuple[Path, list[SpokenPassage]], tmp_path: Path, seed: Any
) -> None:
    """They are the same job as plain numbers, and JSON can write them."""
    options = NarrationOptions(guards=Guards(retries=np.int64(1), longest=np.float32(2.5)), block=np.int8(2))
    sampling = GenerationOptions(top_k=np.int64(10_000), text_temperature=np.float16(1))
    changes = {"narration": options, "options": sampling}
    first = narrate(short, tmp_path / "journal", 2, seed=seed, **changes)
    plain = {"narration": OPTIONS, "options": GenerationOptions(top_k=10_000, text_temperature=1.0)}
    assert_same(narrate(short, tmp_path / "journal", 2, **plain), first)
    assert Journal.seed(tmp_path / "journal") == SEED
    assert_same(narrate(short, shutil.copytree(finished[0], tmp_path / "copy"), seed=seed), finished[1])


@pytest.mark.parametrize("seed", [1.5, "3", None, -1, 2**64, True], ids=repr)
def test_a_journal_refuses_what_is_not_a_seed(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(BarkError, match="a seed must be a whole number"):
        Journal(tmp_path / "journal", "fingerprint", seed)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_job_is_not_spoken_again(
    short: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path
) -> None:
    before = written(journal)
    assert_same(narrate(short, journal), finished[1])
    assert written(journal) == before


def test_a_block_with_a_missing_passage_is_spoken_again(
    short: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path
) -> None:
    """The other blocks are not."""
    before = written(journal)
    (journal / "00003.npz").unlink()
    assert_same(narrate(short, journal), finished[1])
    changed = {name for name, file in written(journal).items() if before[name] != file}
    assert changed == {"00002.npz", "00003.npz"}


@pytest.mark.parametrize(
    "changes",
    [
        {"text": TEXT + "!"},
        {"voice": make_voice(SPACE, seed=4)},
        {"voice": None},
        {"seed": SEED + 1},
        {"history": "rolling"},
        {"options": GenerationOptions(top_k=50)},
        {"narration": NarrationOptions(guards=Guards(retries=2), block=2)},
        {"narration": NarrationOptions(guards=Guards(retries=1), block=3)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_job_is_refused_and_changes_nothing(short: Bark, journal: Path, changes: dict[str, Any]) -> None:
    before = contents(journal)
    with pytest.raises(BarkError, match=r"journal of another job .*delete the journal to start again"):
        narrate(short, journal, **changes)
    assert contents(journal) == before


def test_another_bundle_is_another_job(short_bundle: Path, journal: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(short_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"model": "another"}))
    with pytest.raises(BarkError, match="journal of another job"):
        narrate(Bark.load(bundle, device="cpu"), journal)


def test_a_passage_is_read_as_it_was_written(finished: tuple[Path, list[SpokenPassage]], tmp_path: Path) -> None:
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
    short: Bark, finished: tuple[Path, list[SpokenPassage]], journal: Path, tmp_path: Path
) -> None:
    """Only plain files are read, and the target of a link is not written."""
    (journal / "00000.npz").write_bytes((journal / "00000.npz").read_bytes()[:-99])
    (journal / "00002.npz").unlink()
    os.mkfifo(journal / "00002.npz")
    (tmp_path / "letter").write_text("dear")
    (journal / "00004.npz").unlink()
    (journal / "00004.npz").symlink_to(tmp_path / "letter")
    assert_same(narrate(short, journal), finished[1])
    assert_same(narrate(short, journal), finished[1])
    assert (tmp_path / "letter").read_text() == "dear"
    assert all(path.is_file() and not path.is_symlink() for path in journal.iterdir())


# Directories that are not journals


def test_a_directory_with_other_files_is_not_changed(short: Bark, tmp_path: Path) -> None:
    (tmp_path / "00000.npz").write_bytes(b"mine")
    for action in (lambda: narrate(short, tmp_path), lambda: Journal.remove(tmp_path)):
        with pytest.raises(BarkError, match="is not a journal"):
            action()
    assert contents(tmp_path) == {"00000.npz": b"mine"}


def test_an_error_names_the_directory_that_cannot_be_a_journal(short: Bark, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "nowhere" / "journal", tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(BarkError) as caught:
            narrate(short, path)
        assert str(path) in str(caught.value)
    assert contents(tmp_path) == {"file": b"mine"}


def test_an_error_says_why_a_passage_was_not_written(
    short: Bark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deleted directory is not a full disk."""
    journal = Journal(tmp_path / "journal", "fingerprint", 1)
    record = Record(np.zeros(10, np.float32), None, 1, 1, (), ())
    shutil.rmtree(tmp_path / "journal")
    with pytest.raises(BarkError, match=r"journal.00000\.npz: its directory was deleted meanwhile$"):
        journal.save(0, record)
    (tmp_path / "journal").mkdir()
    for number, said in ((errno.ENOSPC, "; is the disk full?"), (errno.EACCES, "")):

        def fail(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, "reason")

        monkeypatch.setattr(np, "savez", fail)
        with pytest.raises(BarkError) as caught:
            journal.save(0, record)
        assert str(caught.value).endswith(f"00000.npz: reason{said}")
    assert [path.name for path in (tmp_path / "journal").iterdir()] == []


# Removing


def test_remove_deletes_the_files_of_a_journal(journal: Path) -> None:
    """Also those that a killed process left half written."""
    for name in (".00001-bark-onnx-0123456789abcdef.npz", ".plan-bark-onnx-0123456789abcdef.json", "100000.npz"):
        (journal / name).write_bytes(b"half")
    Journal.remove(journal)
    assert not journal.exists()
    Journal.remove(journal)


def test_the_directory_may_be_a_string(journal: Path) -> None:
    assert Journal.seed(str(journal)) == SEED
    Journal.remove(str(journal))
    assert not journal.exists()
    Journal(str(journal), "fingerprint", SEED)
    assert Journal.seed(journal) == SEED


def test_remove_keeps_other_files(journal: Path) -> None:
    mine = {"notes.txt": b"mine", "00001.wav": b"mine", "1.npz": b"mine", ".00001.npz": b"mine"}
    for name, content in mine.items():
        (journal / name).write_bytes(content)
    Journal.remove(journal)
    assert contents(journal) == mine


def test_a_job_begins_if_it_was_killed_while_it_wrote_its_plan(
    short: Bark, finished: tuple[Path, list[SpokenPassage]], tmp_path: Path
) -> None:
    directory = tmp_path / "journal"
    directory.mkdir()
    (directory / ".plan-bark-onnx-0123456789abcdef.json").write_text('{"form')
    assert_same(narrate(short, directory), finished[1])
    Journal.remove(directory)
    assert not directory.exists()
