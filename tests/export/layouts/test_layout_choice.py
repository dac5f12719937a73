"""The layout that a checkpoint is read in depends on its files; and the names that its tensors may have."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BarkModel

from bark_onnx import HubError
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, save_huggingface
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.weights.weights import Weights
from checkpoint_files import State, assert_same, edit_json, edit_state, error_of, load_all
from checkpoint_files import small as small
from checkpoint_files import small_model as small_model
from checkpoint_files import suno as suno
from checkpoint_files import weights as weights

BARK = json.dumps({"model_type": "bark"})


@pytest.fixture
def both(small: Path, suno: Path) -> Path:
    """A directory like suno/bark: Hugging Face's layout with a small token space, and Suno's with the published one."""
    shutil.copytree(suno, small, dirs_exist_ok=True)
    return small


@pytest.mark.parametrize("config", ["{}", '{"model_type": "gpt2"}', '{"_class_name": "x"}', "[1]", "not JSON", BARK])
def test_a_config_json_beside_suno_s_files_is_ignored(
    weights: dict[str, Weights], suno: Path, tmp_path: Path, config: str
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    (directory / "config.json").write_text(config)
    assert_same(load_all(directory), weights)


@pytest.mark.parametrize("config", ['{"model_type": "gpt2"}', "{}", "not JSON"])
def test_weights_of_another_model_beside_suno_s_files_are_not_read(
    weights: dict[str, Weights], both: Path, config: str
) -> None:
    (both / "config.json").write_text(config)
    assert_same(load_all(both), weights)


def test_of_two_layouts_hugging_face_s_is_read_unless_the_user_chooses_suno_s(
    weights: dict[str, Weights], both: Path
) -> None:
    assert open_checkpoint(str(both)).vocabulary == SMALL_VOCABULARY
    chosen = open_checkpoint(str(both), model_size="small")
    assert chosen.vocabulary == Vocabulary()
    assert_same({stage: chosen.load(stage) for stage in weights}, weights)


def test_without_an_encodec_file_the_codec_is_read_from_hugging_face_s_weights(
    weights: dict[str, Weights], suno: Path, model: BarkModel, tmp_path: Path
) -> None:
    directory = save_huggingface(model, tmp_path / "bark")
    shutil.copytree(suno, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.th"))
    assert_same(load_all(directory, model_size="small"), weights)
    (directory / "config.json").write_text("{}")
    message = error_of(lambda: open_checkpoint(str(directory), model_size="small"))
    assert message.startswith(
        "bark has no EnCodec file (encodec*.th) beside Suno's: give --codec facebook/encodec_24khz"
    )


@pytest.mark.parametrize(
    ("files", "size", "message"),
    [
        ([], None, "bark holds neither a Hugging Face model (config.json"),
        (["config.json"], None, "bark has neither model.safetensors nor pytorch_model.bin: download it again"),
        (["model.safetensors"], None, "bark has model.safetensors but no config.json: download it again"),
        (["pytorch_model.bin.index.json"], None, "bark has pytorch_model.bin.index.json but no config.json"),
        (["text.pt", "text_2.pt"], None, "choose with --model-size small or large"),
        (["coarse.pt"], None, "bark lacks text.pt, fine.pt of Suno's small model (text.pt, coarse.pt, fine.pt)"),
        (["text.pt", "coarse.pt", "fine.pt"], "large", "bark lacks text_2.pt, coarse_2.pt, fine_2.pt"),
        (["text.pt", "coarse.pt", "fine.pt"], "large", "; it has files of --model-size small"),
        (["config.json", "model.safetensors"], "small", "; leave --model-size out for its Hugging Face weights"),
        (["text.pt", "coarse.pt", "fine.pt"], None, "bark has no EnCodec file (encodec*.th)"),
        (["text.pt", "coarse.pt", "fine.pt", "encodec_1.th", "encodec_2.th"], None, "holds 2 EnCodec files"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, files: list[str], size: str | None, message: str) -> None:
    directory = tmp_path / "bark"
    directory.mkdir()
    for name in files:
        (directory / name).touch()
    assert message in error_of(lambda: open_checkpoint(str(directory), model_size=size))  # type: ignore[arg-type]


def test_a_revision_is_only_for_the_hub_and_must_be_valid(small: Path) -> None:
    assert "is a directory, and --revision is for" in error_of(lambda: open_checkpoint(str(small), revision="main"))
    with pytest.raises(HubError, match="two revisions"):
        open_checkpoint("suno/bark@main", revision="refs/pr/5")
    for revision in ("../../main", "/etc", "a b", "-x", "a//b", "a@{b}", "a\\b", "x\n"):
        with pytest.raises(HubError, match="is not a revision"):
            open_checkpoint("suno/bark", revision=revision)


# Names of tensors


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("format", ["safetensors", "bin"])
def test_a_model_saved_in_torch_s_wrappers_is_unwrapped(
    model: BarkModel, weights: dict[str, Weights], tmp_path: Path, format: str, prefix: str
) -> None:
    directory = save_huggingface(model, tmp_path, format=format)  # type: ignore[arg-type]

    def wrap(state: State) -> None:
        for name in list(state):
            state[prefix + name] = state.pop(name)

    edit_any_state(directory, wrap)
    assert_same(load_all(directory), weights)


def test_a_model_whose_part_was_compiled_is_unwrapped(small: Path) -> None:
    expected = load_all(small)

    def wrap(state: State) -> None:
        for name in list(state):
            state[name.replace("semantic.layers.", "semantic._orig_mod.layers.")] = state.pop(name)

    edit_state(small, wrap)
    assert_same(load_all(small), expected)


def test_a_tensor_with_and_without_its_wrapper_is_refused(small: Path) -> None:
    edit_state(small, lambda state: state.update({"module.semantic.lm_head.weight": torch.zeros(1)}))
    message = error_of(lambda: open_checkpoint(str(small)).load("semantic"))
    assert "semantic.lm_head.weight" in message
    assert "which are the same" in message


def test_a_tensor_in_two_files_is_refused(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path, format="sharded bin")
    first, second = (directory / f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2))
    torch.save(torch.load(second) | torch.load(first), second)
    assert "holds what another file holds too" in error_of(lambda: open_checkpoint(str(directory)).load("semantic"))


@pytest.mark.parametrize("stage", ["semantic", "codec"])
def test_names_with_an_unknown_prefix_are_reported_as_such(small: Path, stage: str) -> None:
    """The error does not advise to download the file again, which would not help."""

    def rename(state: State) -> None:
        for name in list(state):
            state[f"base_model.model.{name}"] = state.pop(name)

    edit_state(small, rename)
    message = error_of(lambda: open_checkpoint(str(small)).load(stage))
    assert "names its tensors unlike any Bark (base_model.model." in message
    assert "download it again" not in message


def edit_any_state(directory: Path, edit: object) -> None:
    if (directory / "model.safetensors").exists():
        edit_state(directory, edit)  # type: ignore[arg-type]
        return
    state = torch.load(directory / "pytorch_model.bin")
    edit(state)  # type: ignore[operator]
    torch.save(state, directory / "pytorch_model.bin")


# Variants of the generation config that transformers accepts


def test_the_end_token_may_be_a_list_and_null_sections_have_published_values(small: Path) -> None:
    path = small / "generation_config.json"
    expected = open_checkpoint(str(small)).vocabulary
    edit_json(path, "semantic_config", eos_token_id=[100])
    assert open_checkpoint(str(small)).vocabulary == expected
    edit_json(path, None, fine_acoustics_config=None)
    assert open_checkpoint(str(small)).vocabulary == expected  # its fine section has the published values
    edit_json(path, None, semantic_config=None, coarse_acoustics_config=None, codebook_size=None)
    assert open_checkpoint(str(small)).vocabulary == Vocabulary()


@pytest.mark.parametrize("value", [[], [100, 101], ["100"], [[100]], [True]])
def test_end_tokens_that_are_not_one_number_are_refused(small: Path, value: object) -> None:
    edit_json(small / "generation_config.json", "semantic_config", eos_token_id=value)
    assert "eos_token_id in semantic_config of generation_config.json is" in error_of(
        lambda: open_checkpoint(str(small))
    )
