"""suno-ai/bark's names: their signatures, their kinds of arguments, and the results of this package's own API."""

import importlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, BarkWarning, BundleError, GenerationOptions, VoiceError, VoicePreset, compat
from bark_onnx.compat import generation
from tiny import SPACE
from tiny import VOICE as NAME
from voices import make_voice

REQUIRED = inspect.Parameter.empty

# suno-ai/bark at f4f32d4, `bark/api.py` and `bark/generation.py`.
SIGNATURES: dict[str, dict[str, Any]] = {
    "preload_models": {
        "text_use_gpu": True,
        "text_use_small": False,
        "coarse_use_gpu": True,
        "coarse_use_small": False,
        "fine_use_gpu": True,
        "fine_use_small": False,
        "codec_use_gpu": True,
        "force_reload": False,
    },
    "generate_audio": {
        "text": REQUIRED,
        "history_prompt": None,
        "text_temp": 0.7,
        "waveform_temp": 0.7,
        "silent": False,
        "output_full": False,
    },
    "text_to_semantic": {"text": REQUIRED, "history_prompt": None, "temp": 0.7, "silent": False},
    "semantic_to_waveform": {
        "semantic_tokens": REQUIRED,
        "history_prompt": None,
        "temp": 0.7,
        "silent": False,
        "output_full": False,
    },
    "save_as_prompt": {"filepath": REQUIRED, "full_generation": REQUIRED},
    "generate_text_semantic": {
        "text": REQUIRED,
        "history_prompt": None,
        "temp": 0.7,
        "top_k": None,
        "top_p": None,
        "silent": False,
        "min_eos_p": 0.2,
        "max_gen_duration_s": None,
        "allow_early_stop": True,
        "use_kv_caching": False,
    },
    "generate_coarse": {
        "x_semantic": REQUIRED,
        "history_prompt": None,
        "temp": 0.7,
        "top_k": None,
        "top_p": None,
        "silent": False,
        "max_coarse_history": 630,
        "sliding_window_len": 60,
        "use_kv_caching": False,
    },
    "generate_fine": {"x_coarse_gen": REQUIRED, "history_prompt": None, "temp": 0.5, "silent": True},
    "codec_decode": {"fine_tokens": REQUIRED},
    "load_model": {"use_gpu": True, "use_small": False, "force_reload": False, "model_type": "text"},
    "load_codec_model": {"use_gpu": True, "force_reload": False},
    "clean_models": {"model_key": None},
}

# The same file's constants.
CONSTANTS: dict[str, Any] = {
    "CONTEXT_WINDOW_SIZE": 1024,
    "SEMANTIC_RATE_HZ": 49.9,
    "SEMANTIC_VOCAB_SIZE": 10_000,
    "CODEBOOK_SIZE": 1024,
    "N_COARSE_CODEBOOKS": 2,
    "N_FINE_CODEBOOKS": 8,
    "COARSE_RATE_HZ": 75,
    "SAMPLE_RATE": 24_000,
    "TEXT_ENCODING_OFFSET": 10_048,
    "SEMANTIC_PAD_TOKEN": 10_000,
    "TEXT_PAD_TOKEN": 129_595,
    "SEMANTIC_INFER_TOKEN": 129_599,
    "COARSE_SEMANTIC_PAD_TOKEN": 12_048,
    "COARSE_INFER_TOKEN": 12_050,
}

# Which names of the reference are in which of its modules.
API = "generate_audio text_to_semantic semantic_to_waveform save_as_prompt".split()
STAGES = "generate_text_semantic generate_coarse generate_fine codec_decode".split()
LOADING = "preload_models load_model load_codec_model clean_models models".split()
MODULES: dict[str, list[str]] = {
    "bark_onnx.compat": [*API, "SAMPLE_RATE", "preload_models"],
    "bark_onnx.compat.api": [*API, *STAGES],
    "bark_onnx.compat.generation": [*CONSTANTS, "SUPPORTED_LANGS", "ALLOWED_PROMPTS", *LOADING, *STAGES],
}


@pytest.fixture
def loaded(bundle_with_voice: Path, monkeypatch: pytest.MonkeyPatch) -> Bark:
    """`preload_models` done; what was loaded before comes back afterwards."""
    monkeypatch.setattr(generation, "models", {})
    compat.preload_models(text_use_gpu=False, bundle=bundle_with_voice)
    return generation.models["text"]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    """Names, order and defaults, all of them by position; what is added is by keyword only and can be left out."""
    parameters = inspect.signature(getattr(compat, name)).parameters.values()
    theirs = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert list(theirs.items()) == list(SIGNATURES[name].items())
    added = [p for p in parameters if p.name not in theirs]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is None for p in added)


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    for module in (compat, generation):
        value = getattr(module, name)
        assert (value, type(value)) == (CONSTANTS[name], type(CONSTANTS[name]))


def test_languages_and_the_names_of_suno_s_voices() -> None:
    codes = ["en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh"]
    assert [code for _, code in compat.SUPPORTED_LANGS] == codes
    assert compat.SUPPORTED_LANGS[0] == ("English", "en")
    assert len(compat.ALLOWED_PROMPTS) == 1 + 2 * 10 * len(codes)
    assert {"announcer", "en_speaker_0", "v2/zh_speaker_9"} <= compat.ALLOWED_PROMPTS


@pytest.mark.parametrize("module", MODULES)
def test_names_can_be_imported_from_the_modules_of_the_reference(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in MODULES[module] if not hasattr(found, name)] == []
    assert [name for name in MODULES[module] if name != "models" and not hasattr(compat, name)] == []


# Loading


def test_bundle_of_the_environment(bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded by the first generation, and once; `force_reload` and another bundle load again."""
    monkeypatch.setattr(generation, "models", {})
    monkeypatch.setenv("BARK_ONNX_BUNDLE", str(bundle_with_voice))
    assert compat.codec_decode(np.zeros((8, 2), np.int64)).shape == (640,)
    first = generation.models["text"]
    compat.preload_models()
    assert generation.models["text"] is first
    compat.preload_models(force_reload=True)
    assert generation.models["text"] is not first
    monkeypatch.setenv("BARK_ONNX_BUNDLE", str(tmp_path / "missing"))
    compat.preload_models(bundle=bundle_with_voice)  # goes before the environment
    with pytest.raises(BundleError, match="missing"):
        compat.preload_models(force_reload=True)


def test_without_a_bundle_a_warning_says_who_speaks(monkeypatch: pytest.MonkeyPatch, recwarn: Any) -> None:
    """Once, and not where a bundle is given."""
    monkeypatch.setattr(generation, "models", {})
    monkeypatch.delenv("BARK_ONNX_BUNDLE", raising=False)
    with pytest.warns(BarkWarning, match=r"nano, a small demonstration voice.*BARK_ONNX_BUNDLE"):
        compat.generate_text_semantic("Hello", max_gen_duration_s=0.1, silent=True, seed=1)
    recwarn.clear()
    compat.generate_text_semantic("Hello", max_gen_duration_s=0.1, silent=True, seed=1)
    compat.preload_models(force_reload=True)
    assert list(recwarn) == []


def test_with_a_bundle_there_is_no_warning(loaded: Bark, recwarn: Any) -> None:
    compat.generate_text_semantic("Hello", max_gen_duration_s=0.1, silent=True, seed=1)
    assert list(recwarn) == []


def test_a_bundle_that_is_none_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generation, "models", {})
    monkeypatch.setenv("BARK_ONNX_BUNDLE", str(tmp_path))
    with pytest.raises(BundleError, match="export"):
        compat.generate_audio("Hello")


def test_a_reload_keeps_the_bundle_that_is_loaded(loaded: Bark, monkeypatch: pytest.MonkeyPatch, recwarn: Any) -> None:
    """It is not replaced by nano, and the memory of the first is freed before the second is loaded."""
    monkeypatch.delenv("BARK_ONNX_BUNDLE", raising=False)
    compat.preload_models(force_reload=True)
    assert generation.models["text"] is not loaded
    assert generation.models["text"].bundle.directory == loaded.bundle.directory
    assert "closed" in repr(loaded)
    assert list(recwarn) == []


def test_a_reload_that_fails_keeps_the_bundle_that_is_loaded(loaded: Bark, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        compat.preload_models(bundle=tmp_path / "missing")
    assert compat.generation.load_model() is loaded


def test_a_bundle_may_be_called_path(bundle_with_voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "models", {})
    compat.preload_models(path=bundle_with_voice)
    assert generation.models["codec"].bundle.directory == bundle_with_voice
    with pytest.raises(BarkError, match="give one of them"):
        compat.preload_models(path=bundle_with_voice, bundle=bundle_with_voice)


def test_load_model_returns_the_bark(loaded: Bark) -> None:
    for name in ("text", "coarse", "fine"):
        assert compat.load_model(model_type=name) is loaded
    assert compat.load_codec_model(use_gpu=False) is loaded
    assert compat.load_model(force_reload=True) is not loaded
    with pytest.raises(BarkError, match="text, coarse, fine, not 'codec'"):
        compat.load_model(model_type="codec")


@pytest.mark.parametrize("key", [None, "text", "codec"])
def test_clean_models_frees_the_bundle(loaded: Bark, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call loads a bundle again."""
    compat.clean_models("no such model")
    assert generation.models
    compat.clean_models(key)
    compat.clean_models(key)
    assert generation.models == {}
    with pytest.raises(BarkError, match="closed"):
        loaded.decode(np.zeros((8, 2), np.int64))
    monkeypatch.setenv("BARK_ONNX_BUNDLE", str(loaded.bundle.directory))
    assert compat.codec_decode(np.zeros((8, 2), np.int64)).shape == (640,)


# Generating


def test_the_stages_are_the_pipelines(loaded: Bark) -> None:
    """Every argument reaches the stage it belongs to."""
    voice = make_voice(SPACE)
    prompt = voice.to_prompt()
    semantic = compat.generate_text_semantic("Hello world", prompt, 0.9, 50, 0.8, True, 0.3, 0.5, False, True, seed=7)
    options = GenerationOptions(
        text_temperature=0.9, top_k=50, top_p=0.8, min_eos_p=0.3, max_seconds=0.5, allow_early_stop=False
    )
    assert len(semantic) == 25
    np.testing.assert_array_equal(semantic, loaded.semantic("Hello world", voice=voice, options=options, seed=7))

    coarse = compat.generate_coarse(semantic, prompt, 0.9, 50, 0.8, True, 100, 20, True, seed=7)
    options = GenerationOptions(coarse_temperature=0.9, top_k=50, top_p=0.8, max_coarse_history=100, sliding_window=20)
    np.testing.assert_array_equal(coarse, loaded.coarse(semantic, voice=voice, options=options, seed=7))
    assert (coarse != compat.generate_coarse(semantic, prompt, 0.9, 50, 0.8, True, seed=7)).any()

    fine = compat.generate_fine(coarse, prompt, 0.9, seed=7)
    np.testing.assert_array_equal(
        fine, loaded.fine(coarse, voice=voice, options=GenerationOptions(fine_temperature=0.9), seed=7)
    )
    np.testing.assert_array_equal(compat.codec_decode(fine), loaded.decode(fine))


def test_fine_temperature_none_is_argmax(loaded: Bark) -> None:
    coarse = np.random.default_rng(0).integers(0, SPACE.codebook_size, (2, 20))
    best = loaded.fine(coarse, voice=None, options=GenerationOptions(fine_temperature=0), seed=0)
    np.testing.assert_array_equal(compat.generate_fine(coarse, temp=None), best)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_generate_audio_is_generate(loaded: Bark, temperature: float) -> None:
    """The temperature of the waveform is the coarse stage's; the fine stage's stays 0.5."""
    semantic = loaded.semantic

    def short(text: str, voice: VoicePreset, options: GenerationOptions, seed: int) -> Any:
        return semantic(text, voice=voice, options=replace(options, max_seconds=0.5), seed=seed)

    options = GenerationOptions(text_temperature=0.8, coarse_temperature=temperature, max_seconds=0.5)
    speech = loaded.generate("Hello world", voice=make_voice(SPACE), options=options, seed=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "semantic", short)
        waveform = compat.generate_audio("Hello world", make_voice(SPACE).to_prompt(), 0.8, temperature, True, seed=7)
    assert isinstance(waveform, np.ndarray)
    np.testing.assert_array_equal(waveform, speech.waveform)


def test_text_to_semantic_takes_its_temperature(loaded: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def semantic(text: str, **arguments: Any) -> Any:
        seen.append((text, arguments))
        return np.zeros(3, np.int64)

    monkeypatch.setattr(loaded, "semantic", semantic)
    compat.text_to_semantic("Hello", NAME, 0.4, True, seed=3)
    options = GenerationOptions(text_temperature=0.4)
    assert seen == [("Hello", {"voice": NAME, "options": options, "seed": 3})]


def test_output_full_is_a_history_prompt(loaded: Bark, tmp_path: Path) -> None:
    """What comes out can be saved, and goes in again as a dictionary, as a file and as an open file."""
    semantic = np.random.default_rng(0).integers(0, SPACE.semantic_size, 30)
    full, waveform = compat.semantic_to_waveform(semantic, None, 0.7, True, True, seed=7)
    assert list(full) == ["semantic_prompt", "coarse_prompt", "fine_prompt"]
    assert full["coarse_prompt"].shape == (2, 45)
    assert full["fine_prompt"].shape == (8, 45)
    np.testing.assert_array_equal(full["semantic_prompt"], semantic)
    np.testing.assert_array_equal(full["fine_prompt"][:2], full["coarse_prompt"])
    np.testing.assert_array_equal(loaded.decode(full["fine_prompt"]), waveform)
    np.testing.assert_array_equal(waveform, compat.semantic_to_waveform(semantic, silent=True, seed=7))

    path = tmp_path / "mine.npz"
    compat.save_as_prompt(str(path), full)
    with np.load(path) as file:
        assert {key: file[key].tolist() for key in file} == {key: array.tolist() for key, array in full.items()}
        waveforms = [_say(semantic, history) for history in (full, str(path), path, file)]
    for again in waveforms:
        np.testing.assert_array_equal(again, waveforms[0])
    assert (waveforms[0] != _say(semantic, None)).any()


def test_generate_audio_with_output_full(loaded: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    semantic = np.random.default_rng(0).integers(0, SPACE.semantic_size, 20)
    monkeypatch.setattr(loaded, "semantic", lambda *_, **__: semantic)
    full, waveform = compat.generate_audio("Hello", output_full=True, silent=True, seed=7)
    assert isinstance(full, dict)
    assert full["semantic_prompt"] is semantic
    np.testing.assert_array_equal(loaded.decode(full["fine_prompt"]), waveform)


def test_voice_by_name(loaded: Bark) -> None:
    """A name of the bundle's is the same as its tokens."""
    semantic = np.random.default_rng(0).integers(0, SPACE.semantic_size, 30)
    np.testing.assert_array_equal(_say(semantic, NAME), _say(semantic, make_voice(SPACE).to_prompt()))


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ("v2/en_speaker_7", "did you mean v2/en_speaker_6"),
        ("missing.npz", "no such voice file"),
        ({"semantic_prompt": np.zeros(3, np.int64)}, "coarse_prompt, fine_prompt missing"),
        (7, "a name, a path, .* or a dictionary of its arrays, not int"),
    ],
)
def test_wrong_history_prompts_are_one_clear_error(loaded: Bark, history: Any, problem: str) -> None:
    for call in (
        lambda: compat.generate_audio("Hello", history, silent=True),
        lambda: compat.generate_coarse(np.zeros(3, np.int64), history, silent=True),
        lambda: compat.generate_fine(np.zeros((2, 3), np.int64), history),
    ):
        with pytest.raises(VoiceError, match=problem):
            call()


def test_prompts_are_saved_as_npz_only(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="npz"):
        compat.save_as_prompt(str(tmp_path / "mine.wav"), make_voice(SPACE).to_prompt())
    with pytest.raises(BarkError, match="missing"):
        compat.save_as_prompt(str(tmp_path / "mine.npz"), {"semantic_prompt": np.zeros(3, np.int64)})
    assert not list(tmp_path.iterdir())


def _say(semantic: Any, history: Any) -> Any:
    return compat.semantic_to_waveform(semantic, history, silent=True, seed=7)
