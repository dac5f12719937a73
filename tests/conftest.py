"""The committed bundle and copies of it, loaded. Nothing here needs torch; what does is in generated.py.

The folders export and bench have other fixtures of the names `bundle` and `bark`: a model with the published token
space, which is generated and exported when a test asks for it.
"""

import gc
import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from bark_onnx import Bark
from bark_onnx.model.manifest import VOICES
from full import FULL, REASON
from tiny import SAMPLERS, SHORT_WINDOWS, SPACE, TINY, VOICE, copy
from utterances import Alone, speak_alone
from voices import make_voice

# The same examples in every run, so that a change fails by itself and not by luck. HYPOTHESIS_PROFILE=default searches.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

REAL_VOICES = Path(__file__).parents[2] / "shared" / "voices"  # beside the checkout; the project does not contain them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that are marked `full`, except in `make test-full`."""
    for item in items:
        if not FULL and item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason=REASON))


def pytest_collection_finish() -> None:
    """Leave what the imports made out of all later collections of garbage: a million objects where torch is loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor write the user's cache directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARK_ONNX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def drawn_seeds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that a test does not give are the same in every run. With one seed in some thousands nothing is said.

    A process that a test starts draws its own: such a test gives a seed, or a temperature of 0.
    """
    monkeypatch.setattr(secrets, "randbits", random.Random(request.node.nodeid).getrandbits)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The committed fp32 bundle. Tests that change files change a copy."""
    return TINY


@pytest.fixture(scope="session")
def bark(bundle: Path) -> Bark:
    return Bark.load(bundle, device="cpu", threads=1)


@pytest.fixture(scope="session")
def alone(bark: Bark) -> list[Alone]:
    """Requests of all kinds, and what becomes of each when it runs alone."""
    return speak_alone(bark)


@pytest.fixture(scope="session")
def bundle_with_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with one voice in it, called VOICE."""
    directory = tmp_path_factory.mktemp("voices")
    (directory / VOICES / VOICE).parent.mkdir(parents=True)
    make_voice(SPACE).save(directory / VOICES / f"{VOICE}.npz")
    return copy(tmp_path_factory.mktemp("with-voice") / "bundle", lambda manifest: manifest, directory)


@pytest.fixture(scope="session")
def short_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with fine windows of 128 frames, for tests that speak much."""
    target = tmp_path_factory.mktemp("short") / "bundle"
    return copy(target, lambda manifest: replace(manifest, vocabulary=SHORT_WINDOWS))


@pytest.fixture(scope="session")
def short(short_bundle: Path) -> Bark:
    return Bark.load(short_bundle, device="cpu", threads=1)


@pytest.fixture(scope="session")
def gpu_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with the graphs that sample, as one for GPUs. Its weights are fp32, so the CPU's tokens are exact."""
    target = tmp_path_factory.mktemp("gpu") / "bundle"
    return copy(target, lambda manifest: replace(manifest, precision="fp16"), SAMPLERS)


@pytest.fixture(scope="session")
def voices() -> Path:
    """The directory of real voice presets."""
    if not REAL_VOICES.is_dir():
        pytest.skip("the real voice presets are not beside this checkout")
    return REAL_VOICES
