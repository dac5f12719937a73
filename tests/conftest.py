"""Small real parts: a generated checkpoint, the bundle exported from it, and the voices where they are at hand."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import BarkModel

from bark_onnx import Bark, VoicePreset
from bark_onnx.model.bundle import MANIFEST, VOICES, Bundle, list_files
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from narrated import END_LIKE, SPACE
from utterances import Alone, speak_alone

VOICE = "v2/en_speaker_6"
REAL_VOICES = Path(__file__).parents[2] / "shared" / "voices"  # beside the checkout; the project does not contain them


@pytest.fixture(scope="session", autouse=True)
def no_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor write the user's cache directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARK_ONNX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def model() -> BarkModel:
    """A small Bark with random weights and the published token space."""
    return make_bark()


@pytest.fixture(scope="session")
def checkpoint(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in Hugging Face's layout, with a tokenizer."""
    directory = save_huggingface(model, tmp_path_factory.mktemp("checkpoint") / "bark-test")
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an fp32 bundle."""
    return export(checkpoint, tmp_path_factory.mktemp("bundle") / "fp32", "fp32")


@pytest.fixture(scope="session")
def bark(bundle: Path) -> Bark:
    return Bark.load(bundle, device="cpu", threads=2)


@pytest.fixture(scope="session")
def voices() -> Path:
    """The directory of real voice presets."""
    if not REAL_VOICES.is_dir():
        pytest.skip("the real voice presets are not beside this checkout")
    return REAL_VOICES


@pytest.fixture(scope="session")
def bundle_with_voice(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one voice in it, called VOICE."""
    directory = tmp_path_factory.mktemp("with-voice") / "bundle"
    shutil.copytree(bundle, directory)
    path = directory / VOICES / f"{VOICE}.npz"
    path.parent.mkdir(parents=True)
    make_voice().save(path)
    manifest = replace(Bundle.open(bundle).manifest, files=list_files(directory))
    (directory / MANIFEST).write_text(manifest.to_json())
    return directory


def make_voice() -> VoicePreset:
    """Tokens by chance, of lengths that fit together."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 1024, (8, 90))
    return VoicePreset(rng.integers(0, 10_000, 60), codes[:2], codes)


def export(
    checkpoint: Path,
    target: Path,
    precision: str,
    layout: str = "static",
    *,
    voices: Path | None = None,
    verify: bool = False,
) -> Path:
    """Export a checkpoint and return the bundle's directory."""
    options = ExportOptions(precision, layout, voices=voices, verify=verify)
    export_bundle(open_checkpoint(str(checkpoint)), target, options)
    return target


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bark:
    """A small token space, and utterances that end where another token would have been sampled."""
    directory = tmp_path_factory.mktemp("small")
    model = make_bark(vocabulary=SMALL_VOCABULARY, layers=1, heads=1, width=48, seed=13)
    head = model.semantic.lm_head.weight
    head[SMALL_VOCABULARY.semantic_pad] = 1.01 * head[92]
    checkpoint = save_huggingface(model, directory / "checkpoint")
    write_tokenizer(checkpoint)
    return Bark.load(export(checkpoint, directory / "bundle", "fp32"), device="cpu", threads=1)


@pytest.fixture(scope="session")
def alone(small: Bark) -> list[Alone]:
    return speak_alone(small)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An fp32 bundle whose utterances end by themselves, made once for all the modules that import this."""
    directory = tmp_path_factory.getbasetemp() / "tiny"
    if not directory.exists():
        model = make_bark(vocabulary=SPACE, layers=1, heads=1, width=48, seed=13)
        head = model.semantic.lm_head.weight
        head[SPACE.semantic_pad] = 1.01 * head[END_LIKE]
        checkpoint = save_huggingface(model, directory / "checkpoint")
        write_tokenizer(checkpoint)
        export(checkpoint, directory / "bundle", "fp32")
    return directory / "bundle"


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Path) -> Bark:
    return Bark.load(tiny_bundle, device="cpu", threads=2)
