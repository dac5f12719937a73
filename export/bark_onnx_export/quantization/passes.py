"""Runs of a transformer over calibration prompts, block by block, in fp32.

The inputs of every block are kept. What depends on one block is therefore measured with a run of that block alone, and
a change of one matrix with a run from its block on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..modules.attention import whole_attention
from ..modules.block import Block
from ..modules.causal import CausalModule
from ..modules.fine import FineModule
from .prompts import Prompt

Transformer = CausalModule | FineModule


def matrices(module: Transformer) -> dict[str, nn.Linear]:
    """Return the matrices that are quantised, by name, in the order in which a graph multiplies by them.

    The fine model's head is not one of them: it is an embedding.
    """
    found: dict[str, nn.Linear] = {}
    for index in range(len(module.blocks)):
        found |= block_matrices(module, index)
    if isinstance(module, CausalModule):
        found["head"] = module.head
    return found


def block_matrices(module: Transformer, index: int) -> dict[str, nn.Linear]:
    """Return the four matrices of a block, by name, in their order."""
    block = module.blocks[index]
    names = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    return {f"blocks.{index}.{name}": cast(nn.Linear, block.get_submodule(name)) for name in names}


class Passes:
    """Runs of a module over prompts.

    The inputs of the blocks are those of the module's weights when this object was made. A caller that changes weights
    for a measurement must change them back.
    """

    def __init__(self, module: Transformer, prompts: Sequence[Prompt]) -> None:
        self.module, self._prompts = module, prompts
        self._hidden: list[list[Tensor]] = []  # by block, then by prompt: the block's input [1, S, D]
        with torch.inference_mode():
            x = [module.embed(*prompt.inputs) for prompt in prompts]
            for block in self._blocks:
                self._hidden.append(x)
                x = [self._run(block, part) for part in x]
            self._hidden.append(x)

    @property
    def _blocks(self) -> list[Block]:
        return cast(list[Block], list(self.module.blocks))

    def logits(self, block: int = 0) -> list[Tensor]:
        """Return the logits [n, choices] of the prompts that have predicted positions; run from a block on."""
        found = []
        with torch.inference_mode():
            for prompt, x in zip(self._prompts, self._hidden[block], strict=True):
                if not len(prompt.predicted):
                    continue
                for later in self._blocks[block:]:
                    x = self._run(later, x)
                found.append(self._predictions(prompt, x))
        return found

    def inputs(self, block: int, see: Callable[[str, Tensor], None]) -> None:
        """Run one block, and call `see` with the name and the inputs [S, K] of each of its matrices."""
        with torch.inference_mode(), _seen(block_matrices(self.module, block), see):
            for x in self._hidden[block]:
                self._run(self._blocks[block], x)

    def head_inputs(self, see: Callable[[str, Tensor], None]) -> None:
        """Call `see` with the inputs of a causal transformer's head at the predicted positions."""
        assert isinstance(self.module, CausalModule)
        with torch.inference_mode(), _seen({"head": self.module.head}, see):
            for prompt, x in zip(self._prompts, self._hidden[-1], strict=True):
                if len(prompt.predicted):
                    self._predictions(prompt, x)

    def _run(self, block: Block, x: Tensor) -> Tensor:
        causal = isinstance(self.module, CausalModule)
        return block.finish(x, whole_attention(block.qkv(x), self.module.heads, causal=causal))

    def _predictions(self, prompt: Prompt, x: Tensor) -> Tensor:
        x = x[:, prompt.predicted]
        logits = self.module.logits(x) if isinstance(self.module, CausalModule) else self._fine_logits(prompt, x)
        places = prompt.first[:, None] + torch.arange(prompt.choices)
        return logits[0].gather(1, places)

    def _fine_logits(self, prompt: Prompt, x: Tensor) -> Tensor:
        assert isinstance(self.module, FineModule)
        return self.module.logits(x, prompt.inputs[1])


@contextmanager
def _seen(found: Mapping[str, nn.Linear], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `see` with the inputs of these matrices for as long as the block runs."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, arguments: see(name, arguments[0].flatten(0, -2))

    handles = [linear.register_forward_pre_hook(hook(name)) for name, linear in found.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def divergence(reference: Sequence[Tensor], candidate: Sequence[Tensor]) -> float:
    """Return the mean KL divergence in nats of distributions at temperature 1, from logits [n, choices] by prompt.

    In fp32 it is right to about 1e-6.
    """
    kl = [
        F.kl_div(b.log_softmax(-1), a.log_softmax(-1), reduction="none", log_target=True).sum(-1)
        for a, b in zip(reference, candidate, strict=True)
    ]
    return float(torch.cat(kl).mean())
