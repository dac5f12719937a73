"""What TensorRT is told: for which shapes to build its engines, and where to keep them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..files import cache_directory
from ..model.bundle import MANIFEST, Bundle, hash_file
from ..model.sizes import TransformerSize

ROWS = 8  # the most sequences together

Shapes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class EngineProfile:
    """What TensorRT builds an engine for.

    Args:
        shapes: of each input with a free axis, the least, the usual and the largest shape.
        half: whether layers may run in fp16.
        cache: directory of engines; of one bundle only, since their names do not tell weights apart.
    """

    shapes: Mapping[str, Shapes]
    half: bool
    cache: Path

    def options(self) -> dict[str, str]:
        """The provider's options."""
        profiles = {
            f"trt_profile_{kind}_shapes": ",".join(
                f"{name}:{'x'.join(map(str, shapes[place]))}" for name, shapes in self.shapes.items()
            )
            for place, kind in enumerate(("min", "opt", "max"))
        }
        return profiles | {
            "trt_fp16_enable": str(int(self.half)),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(self.cache),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(self.cache.parent),
        }


def causal_profile(
    ids: Iterable[str], row: str, cache: Iterable[str], size: TransformerSize, lengths: tuple[int, int, int],
    *, half: bool, engines: Path,
) -> EngineProfile:  # fmt: skip
    """Of a causal graph.

    Args:
        ids, row, cache: names of inputs: of shape [B, S], of shape [B], and of the KV cache.
        lengths: the least, usual and largest S.
    """
    (least, usual, most), heads = lengths, (size.heads, size.context, size.head_size)
    shapes: dict[str, Shapes] = dict.fromkeys(ids, ((1, least), (1, usual), (ROWS, most)))
    shapes |= {row: ((1,), (1,), (ROWS,))}
    shapes |= dict.fromkeys(cache, ((1, *heads), (1, *heads), (ROWS, *heads)))
    return EngineProfile(shapes, half, engines)


def fine_profile(codes: str, frames: int, codebooks: int, *, half: bool, engines: Path) -> EngineProfile:
    """Of the fine graph, whose input `codes` is [B, T, codebooks] with T up to `frames`."""
    shapes = ((1, 1, codebooks), (1, frames, codebooks), (ROWS, frames, codebooks))
    return EngineProfile({codes: shapes}, half, engines)


def engine_directory(bundle: Bundle, stage: str) -> Path:
    """Where the engines of one graph are kept."""
    directory = cache_directory() / "tensorrt" / hash_file(bundle.directory / MANIFEST)[:16] / stage
    directory.mkdir(parents=True, exist_ok=True)
    return directory
