"""PyAV, which is FFmpeg's libraries for Python: the extra `av`. It is imported when something needs it, not before."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING

from ..arrays import Waveform
from ..errors import BarkError, how_to_install, reason

if TYPE_CHECKING:
    from av import AudioFrame


def require_pyav(wanted: str) -> ModuleType:
    """Import PyAV.

    Args:
        wanted: what needs it, for the error.

    Raises BarkError that says what to install.
    """
    try:
        import av.filter  # and av
    except ImportError:
        raise BarkError(f"{wanted} needs PyAV: {how_to_install('av')}") from None
    return av


def has_pyav() -> bool:
    """Whether PyAV can be imported."""
    try:
        require_pyav("this")
    except BarkError:
        return False
    return True


def audio_frame(samples: Waveform, rate: int, position: int, format: str) -> "AudioFrame":
    """Samples [n] as a frame of FFmpeg's.

    Args:
        rate: in Hz.
        position: samples before the first of these.
        format: FFmpeg's name of the format that is wanted: flt, or fltp, which for one channel is the same.
    """
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format=format, layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), position
    return frame


@contextmanager
def one_line(wanted: str) -> Iterator[None]:
    """Turn an error of FFmpeg's into one line."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        version = ".".join(map(str, av.library_versions["libavcodec"]))
        raise BarkError(f"{wanted}: {reason(error)} (PyAV {av.__version__}, libavcodec {version})") from None
