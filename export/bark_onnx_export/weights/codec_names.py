"""The names that Hugging Face and Meta give to the modules of EnCodec's decoder.

Sources: transformers, `models/encodec/modeling_encodec.py`; facebookresearch/encodec, `encodec/modules/seanet.py`.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class CodecNames:
    """The names that a library gives to the decoder's modules.

    Attributes:
        convolution: `{layer}` is its number in the decoder, `{kind}` is `conv` or `convtr`.
        lstm: the LSTM.
        codebook: `{n}` is the number of the codebook.
        prefix: what all names in the state dict begin with.
    """

    convolution: str
    lstm: str
    codebook: str
    prefix: str = ""


HUGGING_FACE = CodecNames(
    convolution="decoder.layers.{layer}.conv",
    lstm="decoder.layers.1.lstm",
    codebook="quantizer.layers.{n}.codebook.embed",
)
META = CodecNames(
    convolution="decoder.model.{layer}.{kind}.{kind}",
    lstm="decoder.model.1.lstm",
    codebook="quantizer.vq.layers.{n}._codebook.embed",
)

# The names of weight norm's magnitude g and direction v, in each of torch's two implementations.
_HOOKS = (".weight_g", ".weight_v")
_PARAMETRIZATION = (".parametrizations.weight.original0", ".parametrizations.weight.original1")


def weight_norm_names(names: Collection[str]) -> tuple[str, str]:
    """Return what the names of weight norm's magnitudes and of its directions end with in this state dict."""
    return _PARAMETRIZATION if any(name.endswith(_PARAMETRIZATION) for name in names) else _HOOKS
