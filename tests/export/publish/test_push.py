"""Bundles that are uploaded to the Hugging Face hub, by the real client to a server on this machine.

The client sends large files to LFS (HF_HUB_DISABLE_XET), which the server speaks.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bark_onnx.hub.repository import Repository
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import MANIFEST, VOICES
from bark_onnx_export.publish.card import model_card
from hub_process import HubProcess
from hub_repository import LARGE, Files
from hub_server import HubServer, read_tree
from run_command import COMMAND, run
from tiny import TINY, VOICE, copy

CARD = "README.md"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add("suno/bark-small", {CARD: b""}, card={"license": "mit"})
        yield server


@pytest.fixture(scope="module")
def client(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    environment = hub.environment(tmp_path_factory.mktemp("home"), HF_HUB_DISABLE_XET="1")
    with HubProcess(environment, tmp_path_factory.mktemp("work")) as process:
        yield process


@pytest.fixture(autouse=True)
def quiet_hub(hub: HubServer) -> None:
    """Forget the requests and the faults of the test before."""
    hub.requests.clear()
    hub.status.clear()


@pytest.fixture(scope="module")
def from_suno(bundle_with_voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a voice that was exported from suno/bark-small, in int8, and measured."""
    semantic = {"nll": 0.002, "kl": 0.0061, "top_1": 0.93, "top_5": 0.999}
    quality = {"semantic": semantic, "codec": {"snr": 120.0, "lsd": 0.0}}
    target = tmp_path_factory.mktemp("suno") / "bundle"
    return copy(
        target,
        lambda manifest: replace(manifest, model="suno/bark-small", revision=COMMIT, precision="int8", quality=quality),
        bundle_with_voice,
    )


def files_of(hub: HubServer, name: str, branch: str = "main") -> Files:
    """The files of a model without those that are not the bundle's."""
    files = hub.repositories[name].revisions[branch]
    return {path: content for path, content in files.items() if path not in (CARD, ".gitattributes")}


# What is uploaded


def test_the_files_of_the_manifest_and_a_card_become_a_model(
    hub: HubServer, client: HubProcess, from_suno: Path, tmp_path: Path
) -> None:
    """Large files are in LFS, and nothing else of the directory is uploaded. What is there can be loaded."""
    directory = tmp_path / "bundle"
    shutil.copytree(from_suno, directory)
    (directory / "notes.txt").write_text("private")
    (directory / VOICES / "other.npz").write_bytes(b"not in the manifest")
    answer = client.push(directory, "me/new")
    assert (answer.error, answer.warnings) == ("", [])
    repository = hub.repositories["me/new"]
    assert answer.result == {
        "url": f"{hub.url}/me/new", "commit": repository.commit("main"), "licence": "mit", "deleted": [],
    }  # fmt: skip
    assert not repository.private
    assert files_of(hub, "me/new") == read_tree(from_suno)
    assert set(hub.stored.values()) == {file for file in files_of(hub, "me/new").values() if len(file) >= LARGE}
    card = repository.revisions["main"][CARD].decode()
    assert card == model_card(Bundle.open(from_suno), Repository("me/new"), "mit")
    opened = client.open("me/new")
    assert (opened.error, opened.result["voices"]) == ("", [VOICE])


def test_a_new_bundle_replaces_the_old_one(hub: HubServer, client: HubProcess, from_suno: Path) -> None:
    """A file that the old bundle had and the new one lacks is deleted; files of others stay."""
    assert client.push(from_suno, "me/renewed").error == ""
    repository = hub.repositories["me/renewed"]
    repository.change("main", repository.revisions["main"] | {"sample.wav": b"RIFF"})
    answer = client.push(TINY, "me/renewed")
    assert (answer.error, answer.result["deleted"]) == ("", [f"{VOICES}/{VOICE}.npz"])
    assert files_of(hub, "me/renewed") == read_tree(TINY) | {"sample.wav": b"RIFF"}
    before = len(repository.past)
    assert client.push(TINY, "me/renewed").error == ""
    assert len(repository.past) == before  # nothing was different


def test_private_and_branches(hub: HubServer, client: HubProcess) -> None:
    """A branch that does not exist is created. The main branch stays as it is."""
    hub.add("me/private", {CARD: b"mine"}, private=True)
    repository = hub.repositories["me/private"]
    repository.revisions["refs/pr/1"] = {CARD: b"mine"}
    for branch in ("next", "refs/pr/1"):
        assert client.push(TINY, "me/private", branch, private=True).error == ""
        assert files_of(hub, "me/private", branch) == read_tree(TINY)
    assert repository.revisions["main"] == {CARD: b"mine"}


# What is refused


def test_what_is_no_bundle_s_repository_is_refused(hub: HubServer, client: HubProcess) -> None:
    hub.add("me/weights", {"model.safetensors": b"weights", CARD: b"mine", "config.json": b"{}"})
    hub.add("me/web", {MANIFEST: b'{"name": "a web application"}'})
    for name, said in (
        ("me/weights", "holds something else than a bundle (config.json; model.safetensors): choose another name"),
        ("me/web", "has a manifest.json that is not a bundle's ("),
    ):
        before = dict(hub.repositories[name].revisions["main"])
        assert f"{name} {said}" in client.push(TINY, name).error
        assert hub.repositories[name].revisions == {"main": before}


@pytest.mark.parametrize(
    ("name", "revision", "options", "fragments"),
    [
        ("me/there", None, {"token": None}, ["needs a token: log in with `hf auth login`, or set HF_TOKEN"]),
        ("me/there", None, {"token": "hf_expired"}, ["refused your token for me/there"]),
        ("me/there", None, {"token": "hf_stranger"}, ["your token may not write to me/there"]),
        ("me/hidden", None, {"token": "hf_stranger"}, ["your token may not write to me/hidden"]),
        ("me/there", None, {"private": True}, ["me/there exists and is public"]),
        ("me/there", "refs/pr/9", {}, ["me/there has no revision refs/pr/9"]),
        ("me/there", COMMIT, {}, [f"{COMMIT} is a commit, which cannot be changed"]),
        ("me--you/x", None, {}, ["me--you/x is not a name that the Hugging Face hub allows"]),
    ],
)
def test_who_may_not_write_is_told_why(
    hub: HubServer,
    client: HubProcess,
    name: str,
    revision: str | None,
    options: dict[str, object],
    fragments: list[str],
) -> None:
    hub.add("me/there", {CARD: b""})
    hub.add("me/hidden", {CARD: b""}, private=True)
    error = client.push(TINY, name, revision, **options).error
    assert [fragment for fragment in fragments if fragment not in error] == [], error
    assert hub.repositories["me/there"].past == []


def test_a_damaged_bundle_is_refused(hub: HubServer, client: HubProcess, tmp_path: Path) -> None:
    """Before anything is asked."""
    shutil.copytree(TINY, tmp_path / "damaged")
    (tmp_path / "damaged" / "fine.onnx").write_bytes(b"")
    assert "is damaged: fine.onnx has 0 bytes instead of" in client.push(tmp_path / "damaged", "me/damaged").error
    assert hub.requests == []


def test_an_upload_that_breaks_off_changes_nothing(hub: HubServer, client: HubProcess) -> None:
    hub.stored.clear()
    hub.status["uploads"] = 403
    assert "your token may not write to me/broken" in client.push(TINY, "me/broken").error
    assert files_of(hub, "me/broken") == {}
    hub.status.clear()
    assert client.push(TINY, "me/broken").error == ""
    assert files_of(hub, "me/broken") == read_tree(TINY)


def test_a_file_that_the_hub_leaves_out_is_noticed(hub: HubServer, client: HubProcess) -> None:
    hub.add("me/ignoring", {".gitignore": b"*.json"}, ignored={"tokenizer.json"})
    assert "me/ignoring is incomplete (tokenizer.json is missing)" in client.push(TINY, "me/ignoring").error


# The command


def test_the_command(hub: HubServer, tmp_path: Path) -> None:
    environment = hub.environment(tmp_path / "home", HF_HUB_DISABLE_XET="1", HF_TOKEN="hf_member")
    names = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_DISABLE_XET", "HF_TOKEN", "NO_PROXY")
    command = ["env", *(f"{name}={environment[name]}" for name in names), *COMMAND]
    result = run("push", TINY, "me/shown", "--private", "--revision", "v1", command=command)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert lines[0].startswith(f"wrote {hub.url}/me/shown: 5 files, 0.6 MB")
    assert lines[1:] == [
        "the card names no licence: add the base model's on the page",
        "try it: bark-onnx say Hello. --bundle me/shown@v1",
    ]
    assert files_of(hub, "me/shown", "v1") == read_tree(TINY)


# The card


def test_the_card_says_what_the_manifest_says(from_suno: Path) -> None:
    card = model_card(Bundle.open(from_suno), Repository("me/new", "v1"), "mit")
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "library_name": "bark-onnx",
        "pipeline_tag": "text-to-speech",
        "license": "mit",
        "base_model": "suno/bark-small",
        "base_model_relation": "quantized",
        "tags": ["bark", "onnx", "onnxruntime", "text-to-audio"],
    }
    for said in (
        f"`suno/bark-small` at commit `{COMMIT}`, exported to ONNX graphs in int8",
        f"$ bark-onnx say Hello. --bundle me/new@v1 --voice {VOICE} -o hello.wav",
        f'bark.generate("Hello.", voice="{VOICE}", seed=7)',
        "It has one voice",
        "| semantic | ",
        "| +0.00200 | 0.0061 | 93.0% | 99.9% |  |  |",
        "| codec |  |  |  |  | 120.0 | 0.000 |",
    ):
        assert said in text, text


def test_the_card_of_a_bundle_from_a_directory_names_no_model_of_the_hub() -> None:
    bundle = Bundle.open(TINY)
    hostile = replace(bundle.manifest, model="`x`\n---\nlicense: other", exporter="<script>`")
    card = model_card(replace(bundle, manifest=hostile), Repository("me/new"), None)
    _, metadata, text = card.split("---\n", 2)
    assert set(yaml.safe_load(metadata)) == {"library_name", "pipeline_tag", "tags"}
    assert "`'x' --- license: other`, exported" in text
    assert "It was not measured when the bundle was exported." in text
    assert "\n---\n" not in text
