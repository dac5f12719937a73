"""The options of TensorRT: the shapes to build its engines for, and the directory to keep them in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..files import cache_directory
from ..model.bundle import Bundle, hash_file
from ..model.manifest import MANIFEST
from ..model.sizes import TransformerSize

ROWS = 8  # the most sequences in one run

Shapes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class EngineProfile:
    """The shapes that TensorRT builds an engine for.

    Args:
        shapes: the smallest, the usual and the largest shape of each input that has a free axis.
        half: whether layers may run in fp16.
        cache: directory of engines. Each bundle needs its own: an engine's name does not depend on the weights.
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
    rows: int, *, half: bool, engines: Path,
) -> EngineProfile:  # fmt: skip
    """The profile of a causal graph.

    Args:
        ids: names of the inputs of shape [B, S].
        row: name of the input of shape [B].
        cache: names of the KV cache's tensors.
        lengths: the smallest, usual and largest S.
        rows: the largest B; the usual one is 1.
    """
    (least, usual, most), heads = lengths, (size.heads, size.context, size.head_size)
    shapes: dict[str, Shapes] = dict.fromkeys(ids, ((1, least), (1, usual), (rows, most)))
    shapes |= {row: ((1,), (1,), (rows,))}
    shapes |= dict.fromkeys(cache, ((1, *heads), (1, *heads), (rows, *heads)))
    return EngineProfile(shapes, half, engines)


def fine_profile(codes: str, frames: int, codebooks: int, *, half: bool, engines: Path) -> EngineProfile:
    """The profile of the fine graph, whose input `codes` is [B, T, codebooks] with T up to `frames`."""
    shapes = ((1, 1, codebooks), (1, frames, codebooks), (ROWS, frames, codebooks))
    return EngineProfile({codes: shapes}, half, engines)


def engine_directory(bundle: Bundle, stage: str) -> Path:
    """The directory that keeps the engines of one graph."""
    directory = cache_directory() / "tensorrt" / hash_file(bundle.directory / MANIFEST)[:16] / stage
    directory.mkdir(parents=True, exist_ok=True)
    return directory
