"""Generated checkpoints with random weights, in the published layouts and at any size up to the published ones."""

from .bark import make_bark
from .configuration import SMALL_VOCABULARY
from .huggingface import save_huggingface
from .suno import save_suno
from .tokenizer import write_tokenizer

__all__ = ["SMALL_VOCABULARY", "make_bark", "save_huggingface", "save_suno", "write_tokenizer"]
