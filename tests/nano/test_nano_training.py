"""The training loop: a run that is stopped and resumed gives the weights of a run that was not."""

from pathlib import Path

import torch

from bark_onnx_nano.training.loop import Batch, Plan, Task, optimizers, train


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Linear(8, 8)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(torch.tanh(self.blocks(x)))
        return result


def tiny_task() -> Task:
    torch.manual_seed(4)
    module = Tiny()

    def batch(step: int) -> Batch:
        return {"x": torch.randn(16, 8, generator=torch.Generator().manual_seed(step))}

    def loss(b: Batch) -> torch.Tensor:
        error: torch.Tensor = module(b["x"] + 0.01 * torch.randn(16, 8)) - b["x"].sum(1, keepdim=True)
        return error.square().mean()

    return Task(module, batch, loss, lambda: 0.0)


def test_a_resumed_training_gives_the_same_weights(tmp_path: Path) -> None:
    plan = Plan(steps=40, rate=1e-2, matrix_rate=1e-2, warmup=5)
    straight, stopped, resumed = tiny_task(), tiny_task(), tiny_task()
    train(straight, plan, tmp_path / "straight.pt", seed=1)
    train(stopped, plan, tmp_path / "parts.pt", seed=1, until=17)
    train(resumed, plan, tmp_path / "parts.pt", seed=1)
    for a, b in zip(straight.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    fresh = tiny_task()
    with torch.no_grad():
        assert float(straight.loss(fresh.batch(99))) < 0.8 * float(fresh.loss(fresh.batch(99)))
    assert len(optimizers(fresh.module, plan)) == 2
