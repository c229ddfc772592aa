"""What exercises of lesson 03 share: LoRA in small, layers, and a check that nothing else learns."""

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake
from course_utils.lessons.lesson_03.small_lora import lora_in_small

LoRALinear, apply_lora, merge_lora = lora_in_small()


def filled(layer):
    """The layer, A and B filled as after some training."""
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if name.endswith(("lora_A", "lora_B")):
                value.normal_()
    return layer


def expect_no_more_to_train(layer):
    ends = ("lora_A", "lora_B")
    names = [name for name, p in layer.named_parameters() if p.requires_grad and not name.endswith(ends)]
    if names:
        raise Mistake(f"The layer trains {names[0]} along. Only A and B should learn.")


def layers_of_both_kinds():
    """nn.Linear and Conv1D, oblong and square, with filled biases and without."""
    layers = [nn.Linear(7, 5), Conv1D(5, 7), Conv1D(4, 4), nn.Linear(4, 4, bias=False)]
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return layers
