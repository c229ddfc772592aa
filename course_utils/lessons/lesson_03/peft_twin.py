"""The lesson's LoRA beside PEFT's: the same A and B in both, and how far the learnt changes are apart."""

import torch

from course_utils.lessons.lesson_03.small_lora import wrapped_layers


def copy_into_peft(ours, theirs) -> None:
    """Copy A and B of every wrapped layer of the lesson's model into PEFT's layer of the same name."""
    inside = theirs.get_base_model()
    with torch.no_grad():
        for name, layer in wrapped_layers(ours).items():
            its = inside.get_submodule(name)
            its.lora_A["default"].weight.copy_(layer.change.lora_A)
            its.lora_B["default"].weight.copy_(layer.change.lora_B)


def apart(ours, theirs) -> float:
    """Distance of the two learnt changes, scale * B A of all layers, as a share of the size of PEFT's."""
    inside = theirs.get_base_model()
    distance = size = 0.0
    for name, layer in wrapped_layers(ours).items():
        its, own = inside.get_submodule(name), layer.change
        change = its.scaling["default"] * its.lora_B["default"].weight @ its.lora_A["default"].weight
        distance += (own.scale * own.lora_B @ own.lora_A - change).square().sum().item()
        size += change.square().sum().item()
    return (distance / size) ** 0.5
