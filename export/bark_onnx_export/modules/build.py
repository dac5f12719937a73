"""Build the torch module of each stage from its weights."""

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from ..weights.weights import Weights
from .causal import CausalModule
from .codec import CodecModule
from .fine import FineModule


def build_module(
    stage: str, weights: Weights, vocabulary: Vocabulary, kv_layout: str = "static"
) -> CausalModule | FineModule | CodecModule:
    """Return the stage's module. It uses the tensors of `weights` without copying them.

    Args:
        kv_layout: `static` or `portable`: the form of attention that is exported.
    """
    size, tensors = weights.size, weights.tensors
    if isinstance(size, CodecSize):
        return CodecModule.from_tensors(size, tensors)
    if stage == "fine":
        return FineModule.from_tensors(size, tensors, vocabulary.codebook_size, kv_layout)
    return CausalModule.from_tensors(size, tensors, sampled_ids(stage, vocabulary), kv_layout)


def sampled_ids(stage: str, vocabulary: Vocabulary) -> list[int]:
    """Return the ids that a causal stage samples: semantic tokens and the end token, or coarse codes."""
    if stage == "semantic":
        return [*range(vocabulary.semantic_size), vocabulary.semantic_pad]
    return list(range(vocabulary.semantic_size, vocabulary.semantic_size + vocabulary.coarse_choices))
