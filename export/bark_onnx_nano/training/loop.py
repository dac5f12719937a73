"""The training loop of all networks. It is seeded, and gives the same result if it is stopped and resumed at any step.

The learning rate is constant after a warm-up and falls to zero over the last part of the steps. So a run can be made
longer or shorter by changing its number of steps only. Muon trains the matrices of the blocks, AdamW all else.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Plan:
    """The length and the learning rates of a run.

    Args:
        rate: AdamW's learning rate.
        matrix_rate: Muon's learning rate; 0 to train everything with AdamW.
        warmup: steps over which the rates rise.
        decay: the share of the steps over which the rates fall.
        clip: the largest norm of the gradient.
    """

    steps: int
    rate: float
    matrix_rate: float = 0.0
    warmup: int = 100
    decay: float = 0.25
    weight_decay: float = 0.01
    clip: float = 1.0

    def scale(self, step: int) -> float:
        """Return the factor of the learning rates at a step."""
        falling = max(1, int(self.steps * self.decay))
        return min(1.0, (step + 1) / self.warmup, max(0.0, (self.steps - step) / falling))


@dataclass(frozen=True)
class Task:
    """What to train: a module, its batch of each step, the loss of a batch, and the loss on held-out data."""

    module: nn.Module
    batch: Callable[[int], Batch]
    loss: Callable[[Batch], Tensor]
    validate: Callable[[], float]


def optimizers(module: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return AdamW, and Muon if the plan has a rate for it and the module has blocks."""
    matrices = [p for n, p in module.named_parameters() if plan.matrix_rate and "blocks." in n and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in module.parameters() if id(p) not in chosen]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay)
    ]
    if matrices:
        made.append(
            torch.optim.Muon(
                matrices, lr=plan.matrix_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return made


def train(
    task: Task, plan: Plan, path: Path, *, seed: int, until: int | None = None, save_seconds: float = 120
) -> None:
    """Train, and write a checkpoint to `path` every `save_seconds` seconds.

    Args:
        path: the checkpoint; if it exists, training is resumed from it.
        until: the step at which to stop; by default the plan's last.
    """
    made = optimizers(task.module, plan)
    rates = [group["lr"] for optimizer in made for group in optimizer.param_groups]
    step = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        task.module.load_state_dict(state["module"])
        for optimizer, saved in zip(made, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step = state["step"]
    last = min(plan.steps, until if until is not None else plan.steps)
    saved_at = logged_at = time.monotonic()
    total, count = 0.0, 0
    while step < last:
        torch.manual_seed(seed * 1_000_003 + step)
        groups = [group for optimizer in made for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * plan.scale(step)
        loss = task.loss(task.batch(step))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(task.module.parameters(), plan.clip)
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        total, count, step = total + float(loss.detach()), count + 1, step + 1
        now = time.monotonic()
        if now - saved_at > save_seconds or step == last:
            _save(task.module, made, step, path)
            task.module.eval()
            with torch.no_grad():
                validation = task.validate()
            task.module.train()
            _log(path, step, total / count, validation, (now - logged_at) / count)
            total, count, saved_at, logged_at = 0.0, 0, time.monotonic(), time.monotonic()


def _save(module: nn.Module, made: list[torch.optim.Optimizer], step: int, path: Path) -> None:
    """Write the checkpoint that resuming needs. A failure leaves the previous checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    state = {"module": module.state_dict(), "optimizers": [o.state_dict() for o in made], "step": step}
    torch.save(state, temporary)
    temporary.replace(path)


def _log(path: Path, step: int, loss: float, validation: float, seconds: float) -> None:
    line = {"step": step, "loss": round(loss, 4), "validation": round(validation, 4), "step_seconds": round(seconds, 3)}
    with path.with_suffix(".log").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(path.stem, line, flush=True)


def load(module: Module, path: Path) -> Module:
    """Load a checkpoint's weights into `module` and prepare it for inference."""
    module.load_state_dict(torch.load(path, weights_only=True)["module"])
    return module.eval().requires_grad_(False)
