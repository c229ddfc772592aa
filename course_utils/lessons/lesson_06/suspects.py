"""The suspect of lesson 06's bug hunt. Read it after the hunt."""

import copy

from course_utils.methods.quantization import QuantizedLinear, quantized_layers


class TheirLinear(QuantizedLinear):
    """The mean of the scales is an attribute, not a buffer: state_dict() does not have it."""


def their_model(model):
    """The quantised model with their layers."""
    model = copy.deepcopy(model)
    for layer in quantized_layers(model).values():
        mean = layer._buffers.pop("scale_mean")
        layer.__class__ = TheirLinear
        layer.scale_mean = mean
    return model


def started_again(state, empty):
    """What the next program gets: `empty`, a quantised model with other weights, after loading the state."""
    model = their_model(empty)
    model.load_state_dict(state)  # strict loading reports nothing missing
    return model
