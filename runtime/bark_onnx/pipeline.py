"""Bark: text in, waveform out.

    text -> ids -> semantic tokens [S] -> coarse codes [2, T] -> fine codes [8, T] -> waveform [320 T]

Every arrow is a stage, and a stage is one call. Nothing flows back.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from .arrays import IntArray, Waveform
from .bundle import Bundle
from .coarse import coarse_windows, unflatten_codes
from .codec import waveform
from .errors import BarkError, BarkWarning, BundleError
from .fine import fine_codes, fine_windows
from .models import open_causal, open_codec, open_fine
from .options import GenerationOptions
from .sampling import draw_seed, random_stream
from .semantic import semantic_tokens, token_limit
from .session import Device
from .speech import Speech
from .tokenizer import Tokenizer
from .voice import VoicePreset, find_voice

Voice: TypeAlias = VoicePreset | str | Path

T = TypeVar("T")


class Bark:
    """A loaded bundle. Make one with `Bark.load` and keep it; it serves one call at a time.

    Args:
        bundle: an opened bundle.
        device: where its graphs run.
        progress: show a progress bar on standard error where that is a terminal.
    """

    def __init__(self, bundle: Bundle, device: Device, *, progress: bool = False) -> None:
        self.bundle = bundle
        self.device = device
        self.progress = progress
        self.vocabulary = bundle.manifest.vocabulary
        self.sample_rate = self.vocabulary.sample_rate
        self._tokenizer = Tokenizer(bundle.tokenizer, self.vocabulary)
        self._semantic = open_causal(bundle, "semantic", device)
        self._coarse = open_causal(bundle, "coarse", device)
        self._fine = open_fine(bundle, device)
        self._codec = open_codec(bundle, device)
        self._semantic_cache = self._semantic.new_cache()
        self._coarse_cache = self._coarse.new_cache()

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        progress: bool = False,
    ) -> "Bark":
        """Load a bundle from its directory.

        Args:
            bundle: what `bark-onnx export` made. None is the embedded bundle, once there is one.
            device: `auto`, `cpu`, `cuda` or `tensorrt`; `auto` is CUDA for an fp16 bundle where it loads, else the CPU.
            threads: threads of one graph run; None leaves it to ONNX Runtime.

        Raises BundleError for a bundle that is incomplete or changed, DeviceError for a device that is not to be had.
        """
        if bundle is None:
            raise BundleError(
                "this version of bark-onnx has no embedded bundle yet: "
                "export a checkpoint with `bark-onnx export` and give the directory it wrote (--bundle)"
            )
        opened = Bundle.open(bundle)
        for_gpu = opened.manifest.precision == "fp16"  # the attention's CUDA kernel takes nothing wider
        chosen = Device.choose(device, threads, auto_gpu=for_gpu)
        if chosen.name != "cpu" and not for_gpu:
            warnings.warn(
                f"an {opened.manifest.precision} bundle runs its attention on the CPU, whatever the device: "
                "export with --precision fp16 for GPUs",
                BarkWarning,
                stacklevel=2,
            )
        return cls(opened, chosen, progress=progress)

    def generate(
        self,
        text: str,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> Speech:
        """Speak a text.

        Args:
            text: what to say; at most 256 tokens are read, about 13 seconds are made.
            voice: a name of the bundle's, the path of an `.npz` file, or a VoicePreset; None for a voice by chance.
            options: how to sample; None for the reference's defaults.
            seed: makes the same tokens again; None draws one, which the result tells.
        """
        seed = draw_seed() if seed is None else seed
        voice = self.voice(voice)
        timings: dict[str, float] = {}
        with _timed(timings, "semantic"):
            semantic = self.semantic(text, voice, options, seed)
        with _timed(timings, "coarse"):
            coarse = self.coarse(semantic, voice, options, seed)
        with _timed(timings, "fine"):
            fine = self.fine(coarse, voice, options, seed)
        with _timed(timings, "codec"):
            audio = self.decode(fine)
        return Speech(audio, self.sample_rate, VoicePreset(semantic, coarse, fine), seed, timings)

    def semantic(
        self, text: str, voice: Voice | None = None, options: GenerationOptions | None = None, seed: int | None = None
    ) -> IntArray:
        """Text -> semantic tokens [S], 49.9 for a second of speech. S is 0 if the model has nothing to say."""
        options = options or GenerationOptions()
        text_ids = self._tokenizer.encode(text)
        tokens = semantic_tokens(
            self._semantic,
            self._semantic_cache,
            text_ids,
            self.voice(voice),
            options,
            self.vocabulary,
            _stream(seed, "semantic"),
        )
        limit = token_limit(options.max_seconds, self.vocabulary)
        return np.fromiter(self._shown(tokens, "semantic", limit), np.int64)

    def coarse(
        self,
        semantic: ArrayLike,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Semantic tokens [S] -> coarse codes [2, T], 75 frames for a second."""
        options = options or GenerationOptions()
        if np.size(semantic) == 0:
            raise BarkError("the model ended the utterance before it began: try another seed, or more text")
        tokens = _tokens("semantic tokens", semantic, (None,), self.vocabulary.semantic_size)
        preset = self.voice(voice)
        if preset is not None:
            preset.warn_if_uneven(self.vocabulary)
        windows = coarse_windows(
            self._coarse, self._coarse_cache, tokens, preset, options, self.vocabulary, _stream(seed, "coarse")
        )
        count = -(-self.vocabulary.coarse_length(len(tokens)) // options.sliding_window)
        return unflatten_codes(np.concatenate(list(self._shown(windows, "coarse", count))), self.vocabulary)

    def fine(
        self,
        coarse: ArrayLike,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Coarse codes [n, T] of the first n codebooks, usually 2 -> the codes of all [8, T]."""
        options = options or GenerationOptions()
        space = self.vocabulary
        codes = _tokens("coarse codes", coarse, (range(1, space.fine_codebooks), None), space.codebook_size)
        preset = self.voice(voice)
        steps = fine_codes(self._fine, codes, preset, options, space, _stream(seed, "fine"))
        history = 0 if preset is None else min(preset.fine.shape[1], space.fine_history)
        count = len(fine_windows(codes.shape[1], history, space))
        *_, result = self._shown(steps, "fine", count)
        return result.copy()

    def decode(self, fine: ArrayLike) -> Waveform:
        """Fine codes [8, T] -> waveform [320 T], float32, mono, full scale at 1."""
        space = self.vocabulary
        codebooks = range(space.fine_codebooks, space.fine_codebooks + 1)
        return waveform(self._codec, _tokens("fine codes", fine, (codebooks, None), space.codebook_size))

    def voice(self, voice: Voice | None) -> VoicePreset | None:
        """The preset behind a name or a path, checked against this model. Raises VoiceError."""
        if isinstance(voice, (str, Path)):
            voice = VoicePreset.load(find_voice(voice, self.bundle.voices))
        if voice is not None:
            voice.check(self.vocabulary)
        return voice

    def _shown(self, steps: Iterable[T], stage: str, total: int) -> Iterator[T]:
        """The same steps, with a progress bar if one is wanted and standard error is a terminal."""
        return iter(tqdm(steps, desc=f"{stage:8}", total=total, leave=False, disable=None if self.progress else True))


def _stream(seed: int | None, stage: Literal["semantic", "coarse", "fine"]) -> np.random.Generator:
    return random_stream(draw_seed() if seed is None else seed, stage)


def _tokens(what: str, values: ArrayLike, shape: tuple[range | None, ...], below: int) -> IntArray:
    """A caller's token array, checked: each axis in its range (None: any length but 0), values in [0, below)."""
    array = np.asarray(values)
    expected = (
        "[" + ", ".join("n" if r is None else f"{r[0]}..{r[-1]}" if len(r) > 1 else str(r[0]) for r in shape) + "]"
    )
    fits = array.ndim == len(shape) and all(
        size > 0 and (allowed is None or size in allowed) for size, allowed in zip(array.shape, shape, strict=False)
    )
    if not fits or not np.issubdtype(array.dtype, np.integer):
        raise BarkError(f"{what} must be integers of shape {expected}, not {array.dtype} of shape {list(array.shape)}")
    if array.min() < 0 or array.max() >= below:
        raise BarkError(f"{what} must be from 0 to {below - 1}, not {array.min()} to {array.max()}")
    return array.astype(np.int64)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    yield
    timings[stage] = perf_counter() - start
