"""Trains in bfloat16, with float32 master weights and optimizer state on the model's device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["MasterOptimizer"]


class MasterOptimizer:
    """AdamW on float32 copies of a model's trained parameters; after each step it writes them back, rounded.

    It also keeps a moving average of the copies over about the last `average_steps` steps; the average is what ships.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        head: tuple[nn.Module, ...] = (),
        head_factor: float = 5.0,
        dtype: torch.dtype = torch.bfloat16,
        average_steps: int = 100,
    ) -> None:
        heads = {id(parameter) for module in head for parameter in module.parameters()}
        self._frozen = {
            name: parameter.detach().float().clone()
            for name, parameter in model.named_parameters()
            if not parameter.requires_grad
        }
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._working = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.masters = [parameter.detach().float().clone().requires_grad_(True) for parameter in self._working]
        self.average = [master.detach().clone() for master in self.masters]
        self._keep = 1 - 1 / average_steps
        pairs = list(zip(self._working, self.masters, strict=True))
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [m for p, m in pairs if p.dim() > 1 and id(p) not in heads], "lr": lr, "weight_decay": 0.01},
                {"params": [m for p, m in pairs if p.dim() == 1 and id(p) not in heads], "lr": lr, "weight_decay": 0.0},
                {"params": [m for p, m in pairs if id(p) in heads], "lr": lr * head_factor, "weight_decay": 0.0},
            ],
            fused=True,
        )
        self._lrs = [group["lr"] for group in self._optimizer.param_groups]
        for name, module in model.named_children():
            if name != "words":  # the embedding table stays in 4 bits
                module.to(dtype)

    def step(self, scale: float, *, clip: float = 1.0) -> None:
        """Takes one step with `scale` times the learning rate, and clips the gradient's norm to `clip`."""
        for master, working in zip(self.masters, self._working, strict=True):
            master.grad = None if working.grad is None else working.grad.float()
            working.grad = None
        nn.utils.clip_grad_norm_([m for m in self.masters if m.grad is not None], clip)
        for group, lr in zip(self._optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lr * scale
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self._working, self.masters)
            torch._foreach_lerp_(self.average, [master.detach() for master in self.masters], 1 - self._keep)

    def averaged(self) -> dict[str, torch.Tensor]:
        """Returns all parameters by name, in float32 on the CPU; the trained ones are averaged over steps."""
        both = self._frozen | dict(zip(self._names, self.average, strict=True))
        return {name: tensor.cpu() for name, tensor in both.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the state that resuming a run needs."""
        return {"masters": self.masters, "average": self.average, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state that `state_dict` returned."""
        with torch.no_grad():
            torch._foreach_copy_(self.masters, state["masters"])
            torch._foreach_copy_(self.average, state["average"])
            torch._foreach_copy_(self._working, self.masters)
        self._optimizer.load_state_dict(state["optimizer"])
