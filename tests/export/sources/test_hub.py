"""Export from the hub: the real client with a server on this machine, and the cache that the client makes."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import BarkModel, EncodecModel

from bark_onnx.model.bundle import Bundle
from bark_onnx_bench.checkpoints import save_huggingface, save_suno, write_tokenizer
from checkpoint_files import small_model as small_model
from hub_client import open_in_process
from hub_server import Files, HubServer, read_tree
from run_command import COMMAND, assert_fails, assert_silent
from tiny import SPACE
from traces import with_traces
from voices import make_voice, write_triple

VOICES = ["en_speaker_1", "v2/en_speaker_6"]
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Client:
    """A user of the hub. The user's cache is empty at first."""

    hub: HubServer
    home: Path

    def environment(self, **variables: str) -> dict[str, str]:
        return self.hub.environment(self.home, **variables)

    @property
    def cached(self) -> set[str]:
        """The files in the cache, as paths in repositories."""
        snapshots = self.home / "hub"
        return {"/".join(path.relative_to(snapshots).parts[3:]) for path in snapshots.glob("*/snapshots/*/**/*.*")}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def client(hub: HubServer, tmp_path: Path) -> Client:
    return Client(hub, tmp_path / "home")


@pytest.fixture(scope="module")
def bark_small(small_model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a repository like suno/bark-small."""
    directory = save_huggingface(small_model, tmp_path_factory.mktemp("hub") / "bark-small")
    write_tokenizer(directory)
    for seed, name in enumerate(VOICES):
        write_triple(directory / "speaker_embeddings", name, make_voice(SPACE, 100, seed))
    (directory / "speaker_embeddings_path.json").write_text("{}")
    (directory / "README.md").write_text("a card")
    return read_tree(directory)


@pytest.fixture(scope="module")
def bark(bark_small: Files, model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a repository like suno/bark: Hugging Face's layout, and Suno's small and large files; no EnCodec."""
    directory = tmp_path_factory.mktemp("hub") / "bark"
    save_suno(model, directory, size="small")
    save_suno(model, directory, size="large")
    (directory / "encodec_24khz-test.th").unlink()
    return bark_small | read_tree(directory)


@pytest.fixture(scope="module")
def encodec(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a repository like facebook/encodec_24khz."""
    codec = EncodecModel(model.config.codec_config)
    codec.load_state_dict(model.codec_model.state_dict())
    directory = tmp_path_factory.mktemp("hub") / "encodec"
    codec.save_pretrained(directory)
    return read_tree(directory)


def changed(files: Files, *without: str, **changes: bytes) -> Files:
    return {path: content for path, content in files.items() if path not in without} | changes


# From the command line


def test_a_repository_becomes_a_bundle(client: Client, bark_small: Files, traced_once: Path, tmp_path: Path) -> None:
    """One process downloads it. Another exports it, makes no request and prints nothing."""
    repository = client.hub.add("suno/bark-small", bark_small)
    online = open_in_process(client.environment(), "suno/bark-small")
    assert (online.error, online.warnings, online.voices) == (None, [], VOICES)
    links = list((client.home / "hub").glob("*/snapshots/*/speaker_embeddings/v2/*.npy"))
    assert len(links) == 3
    assert all(link.is_symlink() and link.readlink().parts[-2] == "blobs" for link in links)

    client.hub.requests.clear()
    command = [
        *with_traces(traced_once),
        "export",
        "suno/bark-small",
        str(tmp_path / "bundle"),
        "--no-verify",
        "--quiet",
    ]
    result = subprocess.run(command, env=client.environment(HF_HUB_OFFLINE="1"), capture_output=True, timeout=300)
    assert_silent(result)
    assert client.hub.requests == []
    bundle = Bundle.open(tmp_path / "bundle")
    assert list(bundle.voices) == VOICES
    assert (bundle.manifest.model, bundle.manifest.revision) == ("suno/bark-small", repository.commit("main"))


_ON_A_TERMINAL = """
import os, pty, subprocess, sys
read, write = pty.openpty()
status = subprocess.run([sys.executable, "-c", sys.argv[1]], stderr=write).returncode
os.write(write, b".")
print(len(os.read(read, 1 << 16)), status)
"""


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_bars_are_shown_on_a_terminal_unless_quiet(client: Client, bark_small: Files, quiet: bool) -> None:
    """Standard error is a terminal here, and an environment variable asks for progress bars."""
    client.hub.add("suno/bark-small", bark_small)
    code = (
        "from bark_onnx.hub.repository import Repository\nfrom bark_onnx.hub.snapshot import look_up\n"
        f"snapshot = look_up(Repository('suno/bark-small'), quiet={quiet})\n"
        "snapshot.download(snapshot.names)"
    )
    environment = client.environment(HF_HUB_DISABLE_PROGRESS_BARS="0")
    command = [sys.executable, "-c", _ON_A_TERMINAL, code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    shown, status = result.stdout.split()
    assert status == "0"
    assert (shown == "1") is quiet


@pytest.mark.parametrize(
    "arguments",
    [["me/bark", "--revision", "refs/pr/5"], pytest.param(["me/bark@refs/pr/5"], marks=pytest.mark.full)],
    ids=["option", "name"],
)
def test_the_command_takes_a_revision(client: Client, tmp_path: Path, arguments: list[str]) -> None:
    repository = client.hub.add("me/bark", {})
    repository.revisions["refs/pr/5"] = {"text.pt": b""}
    command = [*COMMAND, "export", *arguments, str(tmp_path / "bundle")]
    result = subprocess.run(command, env=client.environment(), capture_output=True, timeout=120)
    assert_fails(result, "me/bark lacks coarse.pt, fine.pt")  # the branch main is empty


# What is downloaded


def test_only_what_is_needed_is_downloaded(client: Client, bark_small: Files) -> None:
    """The card, the second tokenizer, and weights in a second format are not."""
    files = bark_small | {"pytorch_model.bin": b"a second format", "flax_model.msgpack": b"a third format"}
    client.hub.add("suno/bark-small", files)
    opened = open_in_process(client.environment(), "suno/bark-small")
    assert (opened.error, opened.warnings, opened.left_out) == (None, [], [])
    assert (opened.tokenizer, opened.voices) == ("tokenizer.json", VOICES)
    voices = [path for path in bark_small if path.endswith(".npy")]
    wanted = ["config.json", "generation_config.json", WEIGHTS, "tokenizer.json", *voices]
    assert client.hub.downloaded() == sorted(wanted)


def test_assets_that_the_user_gives_are_not_downloaded(client: Client, bark_small: Files) -> None:
    client.hub.add("suno/bark-small", bark_small)
    opened = open_in_process(client.environment(), "suno/bark-small", assets=[])
    assert (opened.error, opened.tokenizer, opened.voices) == (None, None, None)
    assert client.hub.downloaded() == ["config.json", "generation_config.json", WEIGHTS]


def test_shards_and_pickles_are_downloaded(client: Client, small_model: BarkModel, tmp_path: Path) -> None:
    for form in ("sharded", "sharded bin", "bin"):
        name = f"me/{form.replace(' ', '-')}"
        client.hub.add(name, read_tree(save_huggingface(small_model, tmp_path / form, format=form)))  # type: ignore[arg-type]
        assert open_in_process(client.environment(), name).error is None


def test_a_missing_shard_is_found_before_the_others_are_downloaded(
    client: Client, small_model: BarkModel, tmp_path: Path
) -> None:
    files = read_tree(save_huggingface(small_model, tmp_path, format="sharded bin"))
    client.hub.add("me/bark", changed(files, "pytorch_model-00002-of-00002.bin"))
    error = open_in_process(client.environment(), "me/bark").error
    assert error == (
        "pytorch_model-00002-of-00002.bin is missing from me/bark, though pytorch_model.bin.index.json names it: "
        "choose another repository or revision"
    )
    assert client.hub.downloaded() == ["config.json", "generation_config.json", "pytorch_model.bin.index.json"]


# Suno's files on the hub


def test_suno_s_small_model_in_a_repository_with_both_layouts(client: Client, bark: Files, encodec: Files) -> None:
    """Only its three files are downloaded, of over 4.5 GB in the real one, and EnCodec from where the error says."""
    client.hub.add("suno/bark", bark)
    client.hub.add("facebook/encodec_24khz", encodec)
    error = open_in_process(client.environment(), "suno/bark", model_size="small").error
    assert error is not None
    assert error.startswith(
        "suno/bark has no EnCodec file (encodec*.th) beside Suno's: give --codec facebook/encodec_24khz"
    )
    assert client.hub.downloaded() == ["config.json", "generation_config.json"]

    client.hub.requests.clear()
    opened = open_in_process(
        client.environment(), "suno/bark", model_size="small", codec="facebook/encodec_24khz", assets=["tokenizer"]
    )
    assert opened.error is None
    assert opened.sizes is not None
    assert "input_vocabulary=129600" in opened.sizes["semantic"]  # in Suno's files, not in Hugging Face's weights
    suno = ["text.pt", "coarse.pt", "fine.pt"]
    assert client.hub.downloaded() == sorted(["config.json", WEIGHTS, "tokenizer.json", *suno])
    assert WEIGHTS in bark  # the one that was sent is EnCodec's: the store finds files by content
    assert sum(request.startswith("GET /store") and request.endswith(WEIGHTS) for request in client.hub.requests) == 1


def test_hugging_face_s_layout_is_read_if_the_user_does_not_choose(client: Client, bark: Files) -> None:
    client.hub.add("suno/bark", bark)
    opened = open_in_process(client.environment(), "suno/bark", assets=[])
    assert opened.sizes is not None
    assert "input_vocabulary=902" in opened.sizes["semantic"]
    assert client.hub.downloaded() == ["config.json", "generation_config.json", WEIGHTS]


def test_missing_files_are_named_before_any_weights_are_downloaded(client: Client, bark: Files) -> None:
    client.hub.add("suno/bark", changed(bark, "coarse_2.pt", "fine_2.pt"))
    error = open_in_process(client.environment(), "suno/bark", model_size="large", codec="facebook/encodec_24khz").error
    assert error is not None
    assert error.startswith("suno/bark lacks coarse_2.pt, fine_2.pt of Suno's large model")
    assert "it has files of --model-size small" in error
    assert client.hub.downloaded() == ["config.json", "generation_config.json"]


# Revisions


def test_a_revision_is_a_branch_a_pull_request_or_a_commit(client: Client, bark_small: Files) -> None:
    repository = client.hub.add("me/bark", {"README.md": b"nothing yet"})
    repository.revisions |= {"refs/pr/5": bark_small, "v1": changed(bark_small, "vocab.txt")}
    commits = {name: repository.commit(name) for name in repository.revisions}
    assert len({*commits.values()}) == 3
    by_option = open_in_process(client.environment(), "me/bark", revision="refs/pr/5", assets=[])
    assert (by_option.source, by_option.revision) == ("me/bark", commits["refs/pr/5"])
    for text in (f"me/bark@{commits['v1']}", "me/bark@v1"):
        assert open_in_process(client.environment(), text, assets=[]).revision == commits["v1"]
    offline = open_in_process(client.environment(HF_HUB_OFFLINE="1"), "me/bark@refs/pr/5", assets=[])
    assert offline.revision == commits["refs/pr/5"]


# Errors are one line with the reason


@pytest.mark.parametrize(
    ("name", "token", "fragments"),
    [
        ("me/gated", "", ["me/gated is gated: accept its licence on http", "/me/gated", "hf auth login", "HF_TOKEN"]),
        ("me/gated", "hf_stranger", ["me/gated is gated: accept its licence"]),
        ("me/private", "", ["there is no model me/private on the Hugging Face hub, or it is private", "hf auth login"]),
        ("me/private", "hf_stranger", ["or it is private"]),
        ("me/absent", "hf_member", ["there is no model me/absent", "check the name"]),
        ("me/bark", "hf_expired", ["refused your token for me/bark", "hf auth login"]),
        ("me/bark@nowhere", "", ["me/bark has no revision nowhere: check the revision"]),
        ("me/empty", "", ["me/empty holds neither a Hugging Face model", "choose another repository"]),
        ("me/config", "", ["me/config has neither model.safetensors nor pytorch_model.bin", "choose another"]),
        ("me/forbidden", "hf_member", ["your token may not read me/forbidden on the Hugging Face hub"]),
        ("a--b/c", "", ["a--b/c is not a name that the Hugging Face hub allows"]),
    ],
)
def test_an_error_of_the_hub_is_explained(
    client: Client, bark_small: Files, name: str, token: str, fragments: list[str]
) -> None:
    client.hub.add("me/bark", bark_small)
    client.hub.add("me/gated", bark_small, gated=True)
    client.hub.add("me/private", bark_small, private=True)
    client.hub.add("me/empty", {"README.md": b""})
    client.hub.add("me/forbidden", bark_small | {"tokenizer.json": b"a file that only some may read"})
    client.hub.status["tokenizer.json"] = 403
    client.hub.add("me/config", changed(bark_small, WEIGHTS))
    environment = client.environment(**{"HF_TOKEN": token} if token else {})
    error = open_in_process(environment, name).error
    assert error is not None
    assert [fragment for fragment in fragments if fragment not in error] == [], error
    assert "download it again" not in error


@pytest.mark.parametrize("name", ["gated", "private"])
def test_the_token_of_a_member_gives_access(client: Client, bark_small: Files, name: str) -> None:
    client.hub.add("me/bark", bark_small, **{name: True})
    assert open_in_process(client.environment(HF_TOKEN="hf_member"), "me/bark", assets=[]).error is None


def test_a_file_whose_name_leads_out_of_the_cache_is_refused(client: Client, bark_small: Files) -> None:
    client.hub.add("me/bark", bark_small | {"speaker_embeddings/../../../evil_fine_prompt.npy": b""})
    error = open_in_process(client.environment(), "me/bark").error
    assert error is not None
    assert error.startswith("me/bark cannot be downloaded (Invalid filename ")
    assert not list(client.home.rglob("evil*"))


def test_a_cache_that_cannot_be_written_is_named(client: Client, bark_small: Files) -> None:
    client.hub.add("me/bark", bark_small)
    client.home.write_text("not a directory")
    error = open_in_process(client.environment(), "me/bark").error
    assert error is not None
    assert error.startswith(f"me/bark could not be downloaded ({client.home}/")
    assert "set HF_HOME" in error


def test_offline_the_error_says_so(client: Client, bark_small: Files) -> None:
    offline = client.environment(HF_HUB_OFFLINE="1")
    error = open_in_process(offline, "suno/bark-small").error
    assert error == (
        "suno/bark-small: no such directory; the Hugging Face hub was not asked for suno/bark-small, since "
        "HF_HUB_OFFLINE is set, and it is not in the cache: unset it to download"
    )
    # Another tool may have cached the configuration alone.
    client.hub.add("suno/bark-small", bark_small)
    code = "from huggingface_hub import hf_hub_download; hf_hub_download('suno/bark-small', 'config.json')"
    subprocess.run([sys.executable, "-c", code], env=client.environment(), check=True, capture_output=True)
    error = open_in_process(offline, "suno/bark-small").error
    assert error is not None
    assert error.startswith("suno/bark-small in the cache has neither model.safetensors nor pytorch_model.bin: ")
    assert error.endswith("since HF_HUB_OFFLINE is set: unset it to download")


def test_if_the_hub_is_down_the_cache_is_used(client: Client, bark_small: Files) -> None:
    client.hub.add("suno/bark-small", bark_small)
    client.hub.status[""] = 503
    error = open_in_process(client.environment(), "suno/bark-small").error
    assert error == (
        "suno/bark-small: no such directory; the Hugging Face hub answered 503 for suno/bark-small, and it is not in "
        "the cache: try again later"
    )
    closed = client.environment(HF_ENDPOINT="http://127.0.0.1:9")
    error = open_in_process(closed, "suno/bark-small").error
    assert error is not None
    assert error.startswith("suno/bark-small: no such directory; the Hugging Face hub could not be reached for suno/")
    assert error.endswith(", and it is not in the cache: check the network")

    client.hub.status.clear()
    assert open_in_process(client.environment(), "suno/bark-small").error is None
    opened = open_in_process(closed, "suno/bark-small")
    assert (opened.error, opened.voices) == (None, VOICES)
    assert len(opened.warnings) == 1
    assert opened.warnings[0].endswith("taking the copy in the cache")


def test_after_an_interrupted_download_the_next_one_completes_the_cache(client: Client, bark_small: Files) -> None:
    client.hub.add("suno/bark-small", bark_small)
    broken = "speaker_embeddings/v2/en_speaker_6_fine_prompt.npy"
    client.hub.cut[broken] = [100] * 6  # more often than the client tries
    error = open_in_process(client.environment(), "suno/bark-small").error
    assert error is not None
    assert error.startswith("the Hugging Face hub could not be reached for suno/bark-small (")
    assert broken not in client.cached
    opened = open_in_process(client.environment(), "suno/bark-small")
    assert (opened.error, opened.voices) == (None, VOICES)


def test_a_broken_connection_is_resumed(client: Client, bark_small: Files) -> None:
    client.hub.add("suno/bark-small", bark_small)
    client.hub.cut[WEIGHTS] = [1000, len(bark_small[WEIGHTS]) // 2]
    opened = open_in_process(client.environment(), "suno/bark-small", assets=[])
    assert (opened.error, opened.warnings) == (None, [])
    assert client.hub.downloaded().count(WEIGHTS) == 3


def test_a_cache_may_have_files_in_place_of_links(client: Client, bark_small: Files) -> None:
    """Some systems have no links."""
    client.hub.add("suno/bark-small", bark_small)
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        opened = open_in_process(client.environment(HF_HUB_DISABLE_SYMLINKS="1", **variables), "suno/bark-small")
        assert (opened.error, opened.warnings, opened.voices) == (None, [], VOICES)
    assert not [path for path in (client.home / "hub").rglob("*") if path.is_symlink()]


def test_offline_a_warning_says_that_the_cache_has_only_some_voices(client: Client, bark_small: Files) -> None:
    client.hub.add("suno/bark-small", bark_small)
    assert open_in_process(client.environment(), "suno/bark-small").error is None
    for path in (client.home / "hub").glob("*/snapshots/*/speaker_embeddings/v2/*"):
        path.unlink()
    opened = open_in_process(client.environment(HF_HUB_OFFLINE="1"), "suno/bark-small")
    assert (opened.error, opened.voices) == (None, VOICES[:1])
    assert [warning for warning in opened.warnings if "voices" in warning and "HF_HUB_OFFLINE" in warning] != []
