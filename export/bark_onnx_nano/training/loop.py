"""One training loop for all networks: seeded, stopped and resumed at any step with the same result.

The learning rate is constant after a warm-up and falls to zero over the last part, so that a run can be lengthened, or
cut short, by its number of steps alone. Muon for the matrices of the blocks, AdamW for all else.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast. `decay` is the part of the steps over which the rate falls."""

    steps: int
    rate: float
    matrix_rate: float = 0.0  # of Muon; 0: AdamW for all
    warmup: int = 100
    decay: float = 0.25
    weight_decay: float = 0.01
    clip: float = 1.0

    def scale(self, step: int) -> float:
        falling = max(1, int(self.steps * self.decay))
        return min(1.0, (step + 1) / self.warmup, max(0.0, (self.steps - step) / falling))


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how well: the loss of a batch, and figures on held-out data."""

    module: nn.Module
    batch: Callable[[int], Batch]
    loss: Callable[[Batch], Tensor]
    validate: Callable[[], float]


def optimizers(module: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
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
    """Train up to `until` (by default all) steps, going on from `path` where it exists."""
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
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(task.module.parameters(), plan.clip)
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        total, count, step = total + float(loss.detach()), count + 1, step + 1
        now = time.monotonic()
        if now - saved_at > save_seconds or step == last:
            save(task.module, made, step, path)
            task.module.eval()
            with torch.no_grad():
                figure = task.validate()
            task.module.train()
            _log(path, step, total / count, figure, (now - logged_at) / count)
            total, count, saved_at, logged_at = 0.0, 0, time.monotonic(), time.monotonic()


def save(module: nn.Module, made: list[torch.optim.Optimizer], step: int, path: Path) -> None:
    """Write everything that resuming needs; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    state = {"module": module.state_dict(), "optimizers": [o.state_dict() for o in made], "step": step}
    torch.save(state, temporary)
    temporary.replace(path)


def _log(path: Path, step: int, loss: float, figure: float, seconds: float) -> None:
    line = {"step": step, "loss": round(loss, 4), "validation": round(figure, 4), "step_seconds": round(seconds, 3)}
    with path.with_suffix(".log").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(path.stem, line, flush=True)


def load(module: nn.Module, path: Path) -> nn.Module:
    """The trained module, for use."""
    module.load_state_dict(torch.load(path, weights_only=True)["module"])
    return module.eval().requires_grad_(False)
