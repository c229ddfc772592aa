"""Measuring the largest tensor that a function makes, for exercises that forbid a full matrix."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """`with Largest() as largest:` stores in largest.values the size of the largest dense tensor made."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.values = max(self.values, tensor.numel())
        return made
