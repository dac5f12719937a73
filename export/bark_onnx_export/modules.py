"""Weights to modules: which torch module a stage is."""

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from .causal import CausalDecoder
from .codec import CodecDecoder
from .fine import FineModel
from .weights import Weights


def build_module(
    stage: str, weights: Weights, vocabulary: Vocabulary, layout: str = "static"
) -> CausalDecoder | FineModel | CodecDecoder:
    """The stage's module around the tensors of its checkpoint, which it shares rather than copies.

    Args:
        layout: the KV layout that it is exported in.
    """
    size, tensors = weights.size, weights.tensors
    if isinstance(size, CodecSize):
        return CodecDecoder.from_tensors(size, tensors)
    if stage == "fine":
        return FineModel.from_tensors(size, tensors, vocabulary.codebook_size, layout)
    return CausalDecoder.from_tensors(size, tensors, sampled_ids(stage, vocabulary), layout)


def sampled_ids(stage: str, vocabulary: Vocabulary) -> list[int]:
    """The ids that a causal stage can sample: semantic tokens and the end, or codes of the coarse codebooks."""
    if stage == "semantic":
        return [*range(vocabulary.semantic_size), vocabulary.semantic_pad]
    return list(range(vocabulary.semantic_size, vocabulary.semantic_size + vocabulary.coarse_choices))
