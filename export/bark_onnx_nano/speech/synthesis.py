"""flite as the teacher: it turns text into speech and reports the timing of every HMM state.

Its shared libraries (package `flite`) are called through ctypes. So a voice is loaded once, and the timings can be
read, which the command line does not print. Timings alone take a third of the time: the synthesis is stopped at its
first samples, when all durations are known.
"""

import ctypes
from collections.abc import Iterator
from ctypes import c_char_p, c_float, c_int, c_short, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ..units import STATES, Segment

SAMPLE_RATE = 24_000
_FLITE_RATE = 16_000
_STOP = 1


@dataclass(frozen=True)
class Spoken:
    """The segments in order, and samples [n] int16 at 24 kHz; no samples if only the timings were asked for."""

    segments: list[Segment]
    samples: NDArray[np.int16]

    @property
    def seconds(self) -> float:
        return self.segments[-1].ends[-1]


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", c_char_p),
        ("sample_rate", c_int),
        ("num_samples", c_int),
        ("num_channels", c_int),
        ("samples", ctypes.POINTER(c_short)),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("features", c_void_p)]


_CHUNK = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_int, c_void_p)


class _Streaming(ctypes.Structure):
    _fields_ = [
        ("min_buffsize", c_int),
        ("callback", _CHUNK),
        ("utterance", c_void_p),
        ("user_data", c_void_p),
        ("item", c_void_p),
    ]


_stop = _CHUNK(lambda *_: _STOP)


@cache
def _library() -> Any:
    flite = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    for name in ("usenglish", "cmulex"):
        ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "flite_init": (c_int, []),
        "flite_synth_text": (c_void_p, [c_char_p, c_void_p]),
        "delete_utterance": (None, [c_void_p]),
        "utt_wave": (ctypes.POINTER(_Wave), [c_void_p]),
        "utt_relation": (c_void_p, [c_void_p, c_char_p]),
        "relation_head": (c_void_p, [c_void_p]),
        "item_next": (c_void_p, [c_void_p]),
        "item_feat_string": (c_char_p, [c_void_p, c_char_p]),
        "item_feat_float": (c_float, [c_void_p, c_char_p]),
        "flite_ffeature_string": (c_char_p, [c_void_p, c_char_p]),
        "new_audio_streaming_info": (ctypes.POINTER(_Streaming), []),
        "audio_streaming_info_val": (c_void_p, [c_void_p]),
        "feat_set": (None, [c_void_p, c_char_p, c_void_p]),
        "feat_remove": (c_int, [c_void_p, c_char_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(flite, name)
        function.restype, function.argtypes = result, arguments
    flite.flite_init()
    return flite


@cache
def _voice(name: str) -> int:
    _library()
    register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    register.restype, register.argtypes = c_void_p, [c_char_p]
    voice: int = register(None)
    return voice


def available(voice: str = "slt") -> bool:
    """Whether flite and the voice are installed."""
    try:
        return _voice(voice) is not None
    except OSError:
        return False


def speak(text: str, voice: str, *, aloud: bool = True) -> Spoken:
    """Synthesize a text.

    Args:
        text: ASCII.
        voice: flite's name of the voice.
        aloud: False to return only the timings.
    """
    flite, loaded = _library(), _voice(voice)
    features = ctypes.cast(loaded, ctypes.POINTER(_Voice)).contents.features
    if aloud:
        flite.feat_remove(features, b"streaming_info")
    else:
        streaming = flite.new_audio_streaming_info()
        streaming.contents.min_buffsize, streaming.contents.callback = 64, _stop
        flite.feat_set(features, b"streaming_info", flite.audio_streaming_info_val(streaming))
    utterance = flite.flite_synth_text(text.encode("ascii"), loaded)
    try:
        return Spoken(_segments(flite, utterance), _samples(flite, utterance) if aloud else np.zeros(0, np.int16))
    finally:
        flite.delete_utterance(utterance)


def _items(flite: Any, utterance: int, relation: bytes) -> Iterator[int]:
    item = flite.relation_head(flite.utt_relation(utterance, relation))
    while item:
        yield item
        item = flite.item_next(item)


def _segments(flite: Any, utterance: int) -> list[Segment]:
    ends = [flite.item_feat_float(item, b"end") for item in _items(flite, utterance, b"HMMstate")]
    found = []
    for n, item in enumerate(_items(flite, utterance, b"Segment")):
        phone = flite.item_feat_string(item, b"name").decode()
        stressed = flite.flite_ffeature_string(item, b"R:SylStructure.parent.stress") == b"1"
        found.append(Segment(phone, stressed, tuple(ends[STATES * n : STATES * (n + 1)])))
    if len(ends) != STATES * len(found):
        raise RuntimeError(f"flite returned {len(ends)} states for {len(found)} phones, not {STATES} for each")
    return found


def _samples(flite: Any, utterance: int) -> NDArray[np.int16]:
    wave = flite.utt_wave(utterance).contents
    samples = np.ctypeslib.as_array(wave.samples, shape=(wave.num_samples,)).astype(np.float32)
    up = resample_poly(samples, SAMPLE_RATE // 8000, _FLITE_RATE // 8000)
    rounded: NDArray[np.int16] = np.clip(np.rint(up), -32768, 32767).astype(np.int16)
    return rounded
