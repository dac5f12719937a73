"""Bundles on the Hugging Face hub: the real client, a server on this machine, and the cache that the client makes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bark_onnx.hub.failures import explain
from bark_onnx.hub.repository import Repository
from bark_onnx.jobs import job as jobs
from bark_onnx.jobs.job import BatchOptions, check_job
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, TOKENIZER
from hub_process import Answer, HubProcess
from hub_repository import Files
from hub_server import HubServer, read_tree
from run_command import COMMAND, run
from tiny import TINY, VOICE

OTHERS = {"README.md": b"a card", "pytorch_model.bin": b"other weights", "voices/notes.txt": b"", "old.onnx": b"old"}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's HF_HOME."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def online(hub: HubServer, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(hub.environment(home), tmp_path_factory.mktemp("online")) as process:
        yield process


@pytest.fixture(scope="module")
def offline(hub: HubServer, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A process with HF_HUB_OFFLINE that has the same cache."""
    environment = hub.environment(home, HF_HUB_OFFLINE="1")
    with HubProcess(environment, tmp_path_factory.mktemp("offline")) as process:
        yield process


@pytest.fixture(autouse=True)
def quiet_hub(hub: HubServer) -> None:
    """Forget the requests and the faults of the test before."""
    hub.requests.clear()
    hub.status.clear()
    hub.cut.clear()


@pytest.fixture(scope="module")
def files() -> Files:
    return read_tree(TINY)


def assert_opened(answer: Answer, repository: str) -> Path:
    """The bundle was opened without a warning, and is the copy in the cache. Returns its directory."""
    assert (answer.error, answer.warnings) == ("", [])
    assert answer.result["repository"] == repository
    return Path(answer.result["directory"])


def with_file(files: Files, name: str, content: bytes) -> Files:
    """The files with a changed one, of which the manifest knows nothing."""
    return files | {name: content}


# What is downloaded, and when


def test_the_files_of_the_manifest_are_downloaded_once(
    hub: HubServer, online: HubProcess, home: Path, bundle_with_voice: Path
) -> None:
    """Large files come from the store, to which the client sends no token."""
    mine = read_tree(bundle_with_voice)
    repository = hub.add("me/whole", mine | OTHERS)
    answer = online.open("me/whole", token="hf_member")
    directory = assert_opened(answer, f"me/whole@{repository.commit('main')}")
    assert directory.is_relative_to(home / "hub")
    assert answer.result["voices"] == [VOICE]
    assert hub.downloaded() == sorted(mine)
    assert sum(request.startswith("GET /store/") for request in hub.requests) == 4  # the graphs
    assert {path.relative_to(directory).as_posix() for path in directory.rglob("*.*")} == set(mine)

    hub.requests.clear()
    assert assert_opened(online.open("me/whole"), answer.result["repository"]) == directory
    assert hub.downloaded() == []


def test_what_is_in_the_cache_is_opened_without_a_network(
    hub: HubServer, online: HubProcess, offline: HubProcess, files: Files
) -> None:
    commit = hub.add("me/cached", files).commit("main")
    error = offline.open("me/cached").error
    assert error == (
        "me/cached: no such directory; the Hugging Face hub was not asked for me/cached, since HF_HUB_OFFLINE is set, "
        "and it is not in the cache: unset it to download"
    )
    directory = assert_opened(online.open("me/cached"), f"me/cached@{commit}")
    hub.requests.clear()
    for name in ("me/cached", "me/cached@main", f"me/cached@{commit}"):
        assert assert_opened(offline.open(name), f"me/cached@{commit}") == directory
    assert hub.requests == []


def test_if_the_hub_is_down_the_cache_is_used_with_a_warning(hub: HubServer, online: HubProcess, files: Files) -> None:
    hub.add("me/down", files)
    assert online.open("me/down").error == ""
    hub.status[""] = 503
    answer = online.open("me/down")
    assert (answer.error, answer.result["voices"]) == ("", [])
    assert answer.warnings == ["the Hugging Face hub answered 503 for me/down: taking the copy in the cache"]


def test_a_revision_is_a_branch_a_pull_request_or_a_commit(
    hub: HubServer, online: HubProcess, files: Files, bundle_with_voice: Path
) -> None:
    repository = hub.add("me/many", {"README.md": b"nothing yet"})
    repository.revisions |= {"v1": files, "refs/pr/5": read_tree(bundle_with_voice)}
    for revision, voices in (("v1", []), ("refs/pr/5", [VOICE])):
        commit = repository.commit(revision)
        for name in (f"me/many@{revision}", f"me/many@{commit}"):
            answer = online.open(name)
            assert_opened(answer, f"me/many@{commit}")
            assert answer.result["voices"] == voices
    assert "me/many is not a bundle (no manifest.json)" in online.open("me/many").error


def test_a_branch_that_moves_on_is_read_anew(
    hub: HubServer, online: HubProcess, files: Files, bundle_with_voice: Path
) -> None:
    repository = hub.add("me/moving", files)
    first = assert_opened(online.open("me/moving"), f"me/moving@{repository.commit('main')}")
    hub.requests.clear()
    second = repository.change("main", read_tree(bundle_with_voice))
    assert assert_opened(online.open("me/moving"), f"me/moving@{second}") != first
    assert hub.downloaded() == [MANIFEST, f"voices/{VOICE}.npz"]  # the cache has the others under their hashes


def test_a_partial_download_is_never_used(
    hub: HubServer, online: HubProcess, offline: HubProcess, home: Path, files: Files
) -> None:
    commit = hub.add("me/cut", files).commit("main")
    hub.status["fine.onnx"] = 403  # the client gives up at once; a cut connection it tries again after a second
    error = online.open("me/cut").error
    assert error.startswith("your token may not read me/cut"), error
    assert not list((home / "hub" / "models--me--cut").glob("snapshots/*/fine.onnx"))
    error = offline.open("me/cut").error
    assert error.startswith("me/cut in the cache is incomplete (")
    assert "fine.onnx is missing" in error
    assert error.endswith("since HF_HUB_OFFLINE is set: unset it to download")

    hub.status.clear()
    hub.cut["fine.onnx"] = [1000]
    hub.requests.clear()
    assert_opened(online.open("me/cut"), f"me/cut@{commit}")  # the broken connection is resumed
    assert hub.downloaded().count("fine.onnx") >= 1
    assert_opened(offline.open("me/cut"), f"me/cut@{commit}")


# Every hash is checked


def test_a_repository_that_contradicts_its_manifest_is_refused_before_the_download(
    hub: HubServer, online: HubProcess, files: Files
) -> None:
    """The hub says the sizes of all files, and the hashes of those in LFS."""
    graph = bytes(len(files["coarse.onnx"]))
    changed = with_file(files, "coarse.onnx", graph) | {TOKENIZER: b"{}"}
    del changed["fine.onnx"]
    hub.add("me/changed", changed)
    error = online.open("me/changed").error
    assert error.startswith("me/changed is incomplete (")
    assert "coarse.onnx has another size or hash than it should have" in error
    assert "tokenizer.json has another size or hash than it should have" in error
    assert "fine.onnx is missing" in error
    assert error.endswith("choose another repository or revision")
    assert hub.downloaded() == [MANIFEST]


def test_a_file_outside_lfs_is_checked_after_the_download(hub: HubServer, online: HubProcess, files: Files) -> None:
    hub.add("me/text", with_file(files, TOKENIZER, bytes(len(files[TOKENIZER]))))
    error = online.open("me/text").error
    assert "me/text is damaged in the cache: tokenizer.json has another hash than the manifest says" in error


def test_a_damaged_file_in_the_cache_is_found_and_can_be_deleted(
    hub: HubServer, online: HubProcess, home: Path, files: Files
) -> None:
    commit = hub.add("me/worn", files).commit("main")
    directory = assert_opened(online.open("me/worn"), f"me/worn@{commit}")
    content = bytearray(files["codec.onnx"])
    content[1000] ^= 1
    (directory / "codec.onnx").resolve().write_bytes(content)
    cache = home / "hub" / "models--me--worn"
    assert online.open("me/worn").error == (
        "me/worn is damaged in the cache: codec.onnx has another hash than the manifest says; "
        f"delete {cache} and download it again"
    )
    cache.rename(home / "deleted")
    assert_opened(online.open("me/worn"), f"me/worn@{commit}")


def test_a_hostile_manifest_is_refused(hub: HubServer, online: HubProcess, home: Path, files: Files) -> None:
    """Nothing that it names is downloaded, and one that is too large is not downloaded either."""
    manifest = json.loads(files[MANIFEST])
    manifest["files"]["../../../evil"] = {"bytes": 4, "sha256": "0" * 64}
    hub.add("me/evil", files | {MANIFEST: json.dumps(manifest).encode(), "../../../evil": b"evil"})
    assert "files names '../../../evil', which is not a plain path inside the bundle" in online.open("me/evil").error
    assert hub.downloaded() == [MANIFEST]
    assert not list(home.rglob("evil"))
    hub.requests.clear()
    hub.add("me/large", files | {MANIFEST: b" " * (MAX_MANIFEST_BYTES + 1)})
    assert online.open("me/large").error == "manifest.json of me/large is over 4 MiB: not a manifest"
    assert hub.downloaded() == []


# Errors are one line with the reason


@pytest.mark.parametrize(
    ("name", "token", "fragments"),
    [
        ("me/gated", None, ["me/gated is gated: accept its licence on http", "hf auth login", "HF_TOKEN"]),
        ("me/gated", "hf_stranger", ["me/gated is gated: accept its licence"]),
        ("me/private", None, ["there is no model me/private on the Hugging Face hub, or it is private"]),
        ("me/absent", "hf_member", ["me/absent: no such directory; there is no model me/absent", "check the name"]),
        (f"me/{'long' * 99}", None, ["no such directory; me/longlong", "is not a name that the Hugging Face hub"]),
        ("me/gated", "hf_expired", ["refused your token for me/gated"]),
        ("me/gated", "hf_é", ["your token for the Hugging Face hub has characters that no token has: log in"]),
        ("me/gated@nowhere", None, ["me/gated has no revision nowhere: check the revision"]),
        ("me/gated@a..b", None, ["'a..b' is not a revision"]),
        ("me/page", None, ["me/page: manifest.json is not JSON"]),
        ("me/checkpoint", None, ["is not a bundle (no manifest.json)", "export it first: `bark-onnx export me/checkp"]),
    ],
)
def test_an_error_of_the_hub_is_explained(
    hub: HubServer, online: HubProcess, files: Files, name: str, token: str | None, fragments: list[str]
) -> None:
    hub.add("me/gated", files, gated=True)
    hub.add("me/private", files, private=True)
    hub.add("me/checkpoint", {"config.json": b"{}"})
    hub.add("me/page", {MANIFEST: b"<html>please log in</html>"})
    error = online.open(name, token).error
    assert [fragment for fragment in fragments if fragment not in error] == [], error


def test_a_page_in_place_of_the_hub_s_answer_is_explained() -> None:
    """Networks that one must log in to answer every request with a page."""
    failure = explain("me/bark", None, json.JSONDecodeError("Expecting value", "<html>", 0))
    assert failure.message == (
        "what answered for me/bark is not the Hugging Face hub: check the network; a proxy may want you to log in"
    )
    assert failure.unreachable  # the cache is used


@pytest.mark.parametrize("access", ["gated", "private"])
def test_the_token_of_a_member_gives_access(hub: HubServer, online: HubProcess, files: Files, access: str) -> None:
    commit = hub.add(f"me/{access}-bundle", files, **{access: True}).commit("main")
    assert_opened(online.open(f"me/{access}-bundle", "hf_member"), f"me/{access}-bundle@{commit}")


# The commands


def test_a_path_with_a_typing_error_is_recognised(online: HubProcess) -> None:
    error = online.open("bundles/speken").error
    assert error.startswith("bundles/speken: no such directory; there is no model bundles/speken on the Hugging Face")


def test_the_commands_take_a_name_on_the_hub(hub: HubServer, home: Path, tmp_path: Path, files: Files) -> None:
    hub.add("me/spoken", files)
    environment = hub.environment(home)
    command = ["env", *(f"{name}={environment[name]}" for name in ("HF_ENDPOINT", "HF_HOME")), *COMMAND]
    speak = ["say", "hello", "--quiet", "--seed", "7", "--max-seconds", "0.3", "--bundle"]
    result = run(*speak, "me/spoken@main", cwd=tmp_path, command=command)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "out.wav").read_bytes()[:4] == b"RIFF"


def test_the_processes_of_a_batch_job_load_the_same_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch may be changed while the job runs, and a process may be started later."""
    found = replace(Bundle.open(TINY), repository=Repository("me/bark", "0" * 40))
    monkeypatch.setattr(jobs.Bundle, "open", lambda *_, **__: found)
    (tmp_path / "lines.jsonl").write_text('{"text": "hello", "id": "a"}\n')
    job = check_job(tmp_path / "lines.jsonl", BatchOptions(bundle="me/bark"), 1)
    assert job.options.bundle == f"me/bark@{'0' * 40}"
