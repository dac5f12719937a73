"""Choose the format of each matrix: the cheapest ones whose cost together stays within a budget.

The cost is the KL divergence of the model's distributions on the calibration prompts. It is measured for each matrix
alone in the narrow format. Those that cost most for the bytes they save become wide, until the model with all chosen
formats is within the budget. Activations and the KV cache are quantised at run time and cost little beside 4-bit
weights; the comparison of the finished graphs includes them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bark_onnx.errors import BarkError

from .passes import Passes, block_matrices, divergence, matrices
from .precision import Forms
from .rounding import Rounded, round_matrix


def rounded_matrices(passes: Passes, forms: Forms, budget: float) -> dict[str, Rounded]:
    """Return the matrices of a transformer, rounded, by name.

    Args:
        passes: runs of the original over calibration prompts.
        forms: the formats to choose from.
        budget: the largest KL divergence in nats that the chosen formats may have together, if there is a choice.

    Raises:
        BarkError: activations are so large that the sums of their squares overflow.
    """
    found = {name: linear for name, linear in matrices(passes.module).items() if forms.head or name != "head"}
    if forms.wide is None:
        return {name: round_matrix(linear.weight, forms.narrow) for name, linear in found.items()}
    reference = passes.logits(len(passes.module.blocks))
    narrow: dict[str, Rounded] = {}
    costs: dict[str, float] = {}
    for index, names in _parts(passes, found):
        for name, hessian in _hessians(passes, index, names).items():
            if not hessian.isfinite().all():
                raise BarkError(
                    f"{name} cannot be rounded to {forms.narrow.bits} bits, because its inputs overflow on the "
                    "tokens of voices: check that the weights are right, or export int8"
                )
            narrow[name] = round_matrix(found[name].weight, forms.narrow, hessian)
            with _replaced(found, {name: narrow[name]}):
                costs[name] = divergence(reference, passes.logits(index))

    chosen = dict(narrow)
    by_cost = sorted(costs, key=lambda name: costs[name] / found[name].weight.numel())
    while by_cost:
        with _replaced(found, chosen):
            cost = divergence(reference, passes.logits())
        if cost <= budget:
            break
        # The costs do not quite add up. So the goal for their sum is scaled, and the rest is measured again.
        goal = budget / cost * sum(costs[name] for name in by_cost)
        while by_cost:
            name = by_cost.pop()
            chosen[name] = round_matrix(found[name].weight, forms.wide)
            if sum(costs[name] for name in by_cost) <= goal:
                break
    return chosen


def _parts(passes: Passes, found: Mapping[str, nn.Linear]) -> Iterator[tuple[int, list[str]]]:
    """The names of the matrices in each block, and of the head after the last one."""
    blocks = len(passes.module.blocks)
    for index in range(blocks):
        yield index, list(block_matrices(passes.module, index))
    if "head" in found:
        yield blocks, ["head"]


def _hessians(passes: Passes, index: int, names: list[str]) -> dict[str, Tensor]:
    """The sum of x x^T [K, K] over the inputs x of each matrix."""
    hessians: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        hessians[name] = hessians.get(name, torch.zeros(())) + x.T @ x

    if names == ["head"]:
        passes.head_inputs(see)
    else:
        passes.inputs(index, see)
    return hessians


@contextmanager
def _replaced(found: Mapping[str, nn.Linear], rounded: Mapping[str, Rounded]) -> Iterator[None]:
    """Multiply by rounded matrices for as long as the block runs."""
    originals = {name: found[name].weight.data for name in rounded}
    try:
        for name, matrix in rounded.items():
            found[name].weight.data = matrix.weight()
        yield
    finally:
        for name, original in originals.items():
            found[name].weight.data = original
