"""The traces that tests use again are those that tracing would give."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from bark_onnx_export.graphs.tracing import Tracing, export_graph
from traces import remembering


class Plain(nn.Module):
    """A product with a matrix, which a trace holds the other way round."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 4)
        random = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.norm(x))
        return y


class Doubled(Plain):
    """A trace computes twice the bias."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self.linear.bias + self.linear.bias)


def tracing(module: nn.Module) -> Tracing:
    return Tracing(module, (torch.zeros(2, 8),), ({0: torch.export.Dim("rows")},), ["x"], ["y"])


@pytest.fixture
def export_once(tmp_path: Path) -> Callable[[nn.Module], onnx.ModelProto]:
    (export,) = (function for _, name, function in remembering(tmp_path) if name == "export_graph")

    def exported(module: nn.Module) -> onnx.ModelProto:
        export(tracing(module), tmp_path / "graph.onnx")
        return onnx.load(tmp_path / "graph.onnx")

    return exported


def test_a_graph_gets_the_weights_of_another_module(
    export_once: Callable[[nn.Module], onnx.ModelProto], tmp_path: Path
) -> None:
    first, second = export_once(Plain(1)), export_once(Plain(2))
    assert len(list(tmp_path.glob("*/*/kept.json"))) == 1  # one trace for both
    assert first != second
    export_graph(tracing(Plain(2)), tmp_path / "traced.onnx")
    assert second == onnx.load(tmp_path / "traced.onnx")


def test_a_module_is_traced_again_if_something_was_computed_from_its_weights(
    export_once: Callable[[nn.Module], onnx.ModelProto], tmp_path: Path
) -> None:
    assert export_once(Doubled(1)) == export_once(Doubled(1))
    assert len(list(tmp_path.glob("*/*/kept.json"))) == 1
    assert export_once(Doubled(2)) != export_once(Doubled(1))
    assert len(list(tmp_path.glob("*/*/kept.json"))) == 2
