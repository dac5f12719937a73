"""Voices of a directory, and voices that requests add and delete."""

import asyncio
import io
import json
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe

from bark_onnx import Bark, BarkError, VoiceError
from bark_onnx_serve import voice_directory
from bark_onnx_serve.settings import Settings
from bark_onnx_serve.voice_directory import VoiceDirectory
from bark_onnx_serve.voices import VoiceBook
from serving import Answer, Running, connected, request, running
from tiny import SPACE
from voices import arrays, make_voice

VOICES = "/v1/audio/voices"
KEY = {"Authorization": "Bearer key"}
BINARY = {"Content-Type": "application/octet-stream"}


def npz(seed: int = 1, **changed: Any) -> bytes:
    """An `.npz` file of a voice, with some arrays replaced."""
    file = io.BytesIO()
    np.savez_compressed(file, **{**make_voice(SPACE, seed=seed).to_prompt(), **changed})
    return file.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture(scope="module")
def open_server(bundle_with_voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that takes uploads."""
    directory = tmp_path_factory.mktemp("uploads")
    make_voice(SPACE, seed=5).save(directory / "de_anna.npz")
    (directory / "sub").mkdir()
    make_voice(SPACE, seed=6).save(directory / "sub" / "en_bob.npz")
    with running(
        bundle_with_voice, voices=directory, allow_voice_upload=True, api_keys=("key",),
        voice_aliases={"narrator": "de_anna"},
    ) as server:  # fmt: skip
        yield server


def upload(server: Running, query: str, content: bytes | None = None, **headers: str) -> Answer:
    body = npz() if content is None else content
    return request(server.port, "POST", f"{VOICES}?{query}", body, {**BINARY, **KEY, **headers})


def delete(server: Running, name: str, **headers: str) -> Answer:
    return request(server.port, "DELETE", f"{VOICES}/{name}", headers={**KEY, **headers})


def listed(server: Running) -> list[str]:
    return [voice["id"] for voice in server.get(VOICES).json["voices"]]


def files(server: Running) -> set[str]:
    """Everything in the directory."""
    directory = server.service.settings.voices
    assert directory is not None
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def described(server: Running) -> dict[str, list[str]]:
    """The voices and their languages that Home Assistant sees."""

    async def ask() -> dict[str, Any]:
        client = AsyncTcpClient("127.0.0.1", server.wyoming_port, read_timeout=30)
        await client.connect()
        try:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None
            return event.data
        finally:
            await client.disconnect()

    (program,) = asyncio.run(ask())["tts"]
    return {voice["name"]: voice["languages"] for voice in program["voices"]}


# A directory


def test_the_voices_of_a_directory_are_listed_and_speak(open_server: Running) -> None:
    names = listed(open_server)
    assert names[:3] == ["v2/en_speaker_6", "de_anna", "sub/en_bob"]
    assert described(open_server)["de_anna"] == described(open_server)["narrator"] == ["de"]
    spoken = {voice: open_server.speak_with(voice) for voice in ("v2/en_speaker_6", "de_anna", "sub/en_bob")}
    assert len({*spoken.values()}) == 3
    assert open_server.speak_with("narrator") == spoken["de_anna"]
    bark = open_server.service.bark
    voice = make_voice(SPACE, seed=5)
    chunks = bark.stream("hello", voice=voice, seed=2)
    samples = np.concatenate([chunk.waveform for chunk in chunks])
    assert len(spoken["de_anna"]) == 2 * len(samples)


@pytest.fixture
def bark(bundle_with_voice: Path) -> Bark:
    return Bark.load(bundle_with_voice, device="cpu", threads=1)


def book(bark: Bark, directory: Path, **aliases: str) -> VoiceBook:
    return VoiceBook(bark, aliases, VoiceDirectory(directory, lambda preset: preset.check(bark.vocabulary)))


def test_names_are_paths_and_hidden_files_and_others_are_left_out(bark: Bark, tmp_path: Path) -> None:
    for name in ("a", "b/c", ".hidden", "..data/d", "b/.x-bark-onnx-0123456789abcdef"):
        (tmp_path / f"{name}.npz").parent.mkdir(exist_ok=True)
        make_voice(SPACE).save(tmp_path / f"{name}.npz")
    (tmp_path / "readme.txt").write_text("no voice")
    (tmp_path / "linked.npz").symlink_to("..data/d.npz")  # as Kubernetes mounts files
    assert [name.id for name in book(bark, tmp_path, narrator="b/c").names][1:4] == ["a", "b/c", "linked"]


def test_a_file_may_have_one_of_openais_names_but_not_one_of_the_bundles(bark: Bark, tmp_path: Path) -> None:
    voice = make_voice(SPACE, seed=9)
    voice.save(tmp_path / "alloy.npz")
    found = book(bark, tmp_path).preset("alloy")
    assert found is not None
    assert np.array_equal(found.fine, voice.fine)
    (tmp_path / "v2").mkdir()
    voice.save(tmp_path / "v2" / "en_speaker_6.npz")
    with pytest.raises(VoiceError, match=r"the bundle has a voice v2/en_speaker_6 already"):
        book(bark, tmp_path)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("text", "cannot be read"),
        ("pipe", "not a plain file"),
        ("outside", "leaves the directory"),
        ("nowhere", "No such file"),
        ("other model", "does not fit this model"),
        ("long", "at most 65536 tokens"),
        ("name", "rename it"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(bark: Bark, tmp_path: Path, kind: str, complaint: str) -> None:
    directory = tmp_path / "voices"
    directory.mkdir()
    make_voice(SPACE).save(directory / "good.npz")
    path = directory / "mine.npz"
    if kind == "text":
        path.write_bytes(b"hello")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "outside":
        make_voice(SPACE).save(tmp_path / "secret.npz")
        path.symlink_to(tmp_path / "secret.npz")
    elif kind == "nowhere":
        path.symlink_to("nothing.npz")
    elif kind == "other model":
        path.write_bytes(npz(semantic_prompt=np.array([9_999_999])))
    elif kind == "long":
        path.write_bytes(npz(semantic_prompt=np.zeros(70_000, np.uint8)))
    else:
        path = directory / "mi\nne.npz"
        make_voice(SPACE).save(path)
    with pytest.raises(VoiceError, match=complaint) as raised:
        book(bark, directory)
    assert str(raised.value).startswith("--voices ")
    assert path.name.replace("\n", " ") in str(raised.value)


def test_links_to_directories_are_not_followed(bark: Bark, tmp_path: Path) -> None:
    directory, other = tmp_path / "voices", tmp_path / "other"
    for place in (directory, other):
        place.mkdir()
    make_voice(SPACE).save(other / "secret.npz")
    (directory / "link").symlink_to(other)
    (directory / "round").symlink_to(directory)
    assert VoiceDirectory(directory, lambda preset: None).presets == {}


def test_what_the_operator_gives_is_checked_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BarkError, match="--allow-voice-upload needs --voices DIR"):
        Settings(allow_voice_upload=True)
    with pytest.raises(VoiceError, match=r"--voices .*nothing: No such file"):
        VoiceDirectory(tmp_path / "nothing", lambda preset: None)
    monkeypatch.setattr(voice_directory, "MOST_VOICES", 1)
    for name in ("a", "b"):
        make_voice(SPACE).save(tmp_path / f"{name}.npz")
    with pytest.raises(VoiceError, match="more than 1 voices"):
        VoiceDirectory(tmp_path, lambda preset: None)

    def full(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / "a.npz").unlink()
    monkeypatch.setattr(voice_directory, "check_replaceable", full)
    with pytest.raises(VoiceError, match="cannot take uploads: Read-only file system"):
        VoiceDirectory(tmp_path, lambda preset: None).check_writable()


# Uploads


def test_without_the_option_nothing_is_taken_and_the_answer_says_how_to_allow_it(server: Running) -> None:
    for answer in (upload(server, "name=a", b"x" * 200_000), upload(server, ""), delete(server, "a")):
        assert answer.status == 403
        assert "--allow-voice-upload" in answer.error["message"]
    assert [*server.get("/openapi.json").json["paths"][VOICES]] == ["get"]


def test_an_uploaded_voice_speaks_is_listed_and_stays_after_a_restart(
    open_server: Running, bundle_with_voice: Path
) -> None:
    answer = upload(open_server, "name=fr_new", npz(seed=7))
    assert answer.status == 201
    assert {**answer.json, "created_at": 0} == {
        "id": "fr_new", "name": "fr_new", "object": "audio.voice", "created_at": 0,
    }  # fmt: skip
    assert "fr_new" in listed(open_server)
    assert described(open_server)["fr_new"] == ["fr"]
    spoken = open_server.speak_with("fr_new")
    assert spoken != open_server.speak_with("de_anna")
    restarted = VoiceBook(
        open_server.service.bark, {}, VoiceDirectory(open_server.service.settings.voices or Path(), lambda preset: None)
    )
    kept = restarted.preset("fr_new")
    assert kept is not None
    assert np.array_equal(kept.fine, make_voice(SPACE, seed=7).fine)
    assert delete(open_server, "fr_new").json == {"id": "fr_new", "object": "audio.voice", "deleted": True}
    assert "fr_new" not in listed(open_server)
    assert "fr_new.npz" not in files(open_server)
    assert open_server.speak_with("fr_new", status=400)
    assert delete(open_server, "fr_new").error["code"] == "voice_not_found"


def test_a_voice_is_replaced_only_if_that_is_asked_for(open_server: Running) -> None:
    assert upload(open_server, "name=again", npz(seed=7)).status == 201
    before = open_server.speak_with("again")
    refused = upload(open_server, "name=again", npz(seed=8))
    assert (refused.status, refused.error["code"]) == (409, "voice_exists")
    assert open_server.speak_with("again") == before
    assert upload(open_server, "name=again&replace=true", npz(seed=8)).status == 200
    assert open_server.speak_with("again") != before
    assert delete(open_server, "again").status == 200


@pytest.mark.parametrize("name", ["alloy", "narrator", "DE_ANNA", "taken-since"])
def test_names_of_other_voices_are_never_replaced(open_server: Running, name: str) -> None:
    directory = open_server.service.settings.voices
    assert directory is not None
    (directory / "taken-since.npz").touch()  # by the operator, while the server runs
    before = files(open_server)
    for query in (f"name={name}", f"name={name}&replace=true"):
        assert upload(open_server, query).error["code"] == "voice_exists"
    assert files(open_server) == before
    (directory / "taken-since.npz").unlink()


@pytest.mark.parametrize(
    "name",
    ["", "..", "a%2Fb", "..%2Fa", "%2Fetc%2Fa", "v2%2Fen_speaker_6", "a%00", "a%0A", "a.npz", ".a", "-a", "%C3%BC",
     "a" * 65, "a%20b", "con:", "%F0%9F%90%B6", "a%5Cb"],
)  # fmt: skip
def test_a_name_is_no_path_and_has_no_surprises(open_server: Running, name: str) -> None:
    before = files(open_server)
    answer = upload(open_server, f"name={name}")
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "name", "invalid_value")
    assert answer.error["message"].isprintable()
    assert files(open_server) == before


def bomb() -> bytes:
    """Sixty megabytes in sixty kilobytes."""
    file = io.BytesIO()
    np.savez_compressed(file, semantic_prompt=np.zeros(60 << 20, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot be read"),
        (b"hello", "cannot be read"),
        (npz()[:-40], "cannot be read"),
        (npz(semantic_prompt=np.array([0.5])), "float64, not integers"),
        (npz(semantic_prompt=np.array([np.nan])), "float64, not integers"),
        (npz(semantic_prompt=np.array(["a"])), "not integers"),
        (npz(semantic_prompt=np.array([True])), "not integers"),
        (npz(semantic_prompt=np.array([object()])), "not integers"),
        (npz(semantic_prompt=np.array([-1])), "negative or huge"),
        (npz(semantic_prompt=np.array([2**64 - 1], np.uint64)), "negative or huge"),
        (npz(semantic_prompt=np.array([], np.int64)), "shape"),
        (npz(semantic_prompt=np.array([[1]])), "shape"),
        (npz(fine_prompt=np.zeros((7, 9), int)), "codebooks"),
        (npz(coarse_prompt=np.full((2, 9), 1 << 40)), "coarse code"),
        (npz(fine_prompt=np.zeros((8, 9000), np.uint8)), "at most 65536 tokens"),
        (bomb(), "at most 65536 tokens"),
        (archive({str(number): b"" for number in range(1001)}), "1001 files"),
        (archive({f"{k}.npy": npy(v) for k, v in arrays().items()}, zipfile.ZIP_LZMA), "compressed in a way"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_hostile_file_is_refused_in_one_line(open_server: Running, content: bytes, complaint: str) -> None:
    before = files(open_server)
    answer = upload(open_server, "name=evil", content)
    assert (answer.status, answer.error["code"]) == (400, "invalid_voice")
    assert complaint in answer.error["message"]
    assert files(open_server) == before


def test_a_header_that_promises_much_takes_no_memory(open_server: Running) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)})
    answer = upload(open_server, "name=evil", archive({"semantic_prompt.npy": file.getvalue()}))
    assert "at most 65536 tokens" in answer.error["message"]


def test_other_members_are_not_kept(open_server: Running) -> None:
    content = archive({**{f"{k}.npy": npy(v) for k, v in arrays().items()}, "virus.exe": b"x" * 1000})
    assert upload(open_server, "name=plain", content).status == 201
    directory = open_server.service.settings.voices
    assert directory is not None
    with np.load(directory / "plain.npz") as kept:
        assert {*kept} == {"semantic_prompt", "coarse_prompt", "fine_prompt"}
    assert delete(open_server, "plain").status == 200


def test_the_shortest_voice_does_not_hurt_the_engine(open_server: Running) -> None:
    one = {"semantic_prompt": np.array([1]), "coarse_prompt": np.ones((2, 1), int), "fine_prompt": np.ones((8, 1), int)}
    assert upload(open_server, "name=short", npz(**one)).status == 201
    assert open_server.speak_with("short")
    assert open_server.service.ready
    assert delete(open_server, "short").status == 200


def test_what_else_is_wrong_with_a_request(open_server: Running) -> None:
    assert upload(open_server, "name=a", Authorization="Bearer other").status == 401
    assert delete(open_server, "de_anna", Authorization="").status == 401
    assert upload(open_server, "").error["code"] == "missing_required_parameter"
    assert upload(open_server, "name=a&replace=perhaps").error["param"] == "replace"
    assert upload(open_server, "name=a", b"x" * ((1 << 20) + 1)).status == 413
    for kind in ("multipart/form-data; boundary=x", "application/json", "text/plain"):
        answer = upload(open_server, "name=a", **{"Content-Type": kind})
        assert "Content-Type: application/octet-stream" in answer.error["message"]
    assert delete(open_server, "v2/en_speaker_6").status == 404  # of the bundle
    assert delete(open_server, "sub/en_bob").status == 404  # uploads have no such names
    assert delete(open_server, "..%2F..%2Fetc%2Fpasswd").status == 404
    assert "--voice-alias" in delete(open_server, "de_anna").error["message"]


def test_a_client_that_goes_in_the_midst_of_its_upload_leaves_nothing(open_server: Running) -> None:
    before = files(open_server)
    head = f"POST {VOICES}?name=half HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer key\r\n"
    head += "Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\n"
    with connected(open_server.port) as connection:
        connection.sendall(head.encode() + npz()[:500])
    assert open_server.get("/health").status == 200
    assert files(open_server) == before
    assert "half" not in listed(open_server)


def test_of_uploads_at_once_under_one_name_one_wins(open_server: Running) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = [*clients.map(lambda seed: upload(open_server, "name=race", npz(seed=seed)).status, range(8))]
    assert sorted(answers) == [201] + [409] * 7
    assert [name for name in files(open_server) if "race" in name] == ["race.npz"]
    assert delete(open_server, "race").status == 200


def test_uploads_that_wait_for_each_other_do_not_keep_speech_waiting(
    open_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not take the threads that encode audio, of which a machine of few cores has few."""
    go_on, began = Event(), Event()

    def slow(*_: object, **__: object) -> bool:
        began.set()
        go_on.wait(20)
        raise VoiceError("not now")

    monkeypatch.setattr(open_server.service.voices, "add", slow)
    with ThreadPoolExecutor(41) as clients:
        uploads = [clients.submit(upload, open_server, "name=slow", npz()) for _ in range(40)]
        try:
            assert began.wait(20)
            spoken = clients.submit(open_server.speak_with, "alloy")
            assert spoken.result(5)
        finally:
            go_on.set()
    assert {answer.result().status for answer in uploads} == {400}


def test_a_full_disk_and_a_full_directory_are_errors_and_leave_nothing(
    open_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, content = files(open_server), npz()

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        answer = upload(open_server, "name=big", content)
    assert (answer.status, answer.error["code"]) == (500, "voice_not_kept")
    assert str(open_server.service.settings.voices) not in answer.error["message"]
    assert files(open_server) == before
    assert "big" not in listed(open_server)
    monkeypatch.setattr(voice_directory, "MOST_VOICES", 2)
    assert upload(open_server, "name=third").error["code"] == "too_many_voices"
    assert files(open_server) == before


def test_the_description_of_the_api_has_the_uploads(open_server: Running) -> None:
    paths = open_server.get("/openapi.json").json["paths"]
    assert {*paths[VOICES]} == {"get", "post"}
    assert "application/octet-stream" in json.dumps(paths[VOICES]["post"])
    page = open_server.get("/docs").body.decode()
    assert "<code>replace</code>" in page
    assert "application/octet-stream" in page
