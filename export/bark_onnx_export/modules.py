"""Weights to modules: the torch module of each stage."""

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from .causal import CausalModule
from .codec import CodecModule
from .fine import FineModule
from .weights import Weights


def build_module(
    stage: str, weights: Weights, vocabulary: Vocabulary, layout: str = "static"
) -> CausalModule | FineModule | CodecModule:
    """The stage's module around the tensors of its checkpoint, which it shares rather than copies.

    Args:
        layout: the KV layout to export.
    """
    size, tensors = weights.size, weights.tensors
    if isinstance(size, CodecSize):
        return CodecModule.from_tensors(size, tensors)
    if stage == "fine":
        return FineModule.from_tensors(size, tensors, vocabulary.codebook_size, layout)
    return CausalModule.from_tensors(size, tensors, sampled_ids(stage, vocabulary), layout)


def sampled_ids(stage: str, vocabulary: Vocabulary) -> list[int]:
    """The ids that a causal stage can sample: semantic tokens and the end token, or codes of the coarse codebooks."""
    if stage == "semantic":
        return [*range(vocabulary.semantic_size), vocabulary.semantic_pad]
    return list(range(vocabulary.semantic_size, vocabulary.semantic_size + vocabulary.coarse_choices))
