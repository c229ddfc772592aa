"""The adapter of the bug hunt: right on the model it was trained with, wrong on the base that others have."""

from course_utils.methods.lora import apply_lora, lora_layers
from course_utils.methods.lora_fast import speed_up
from course_utils.methods.lora_variants import plus_groups, start_pissa, train_groups


def trained_by_others(model, batches, steps, lr=1e-3):
    """The model with an adapter of rank 8, trained with PiSSA: its frozen weights differ from the base's."""
    apply_lora(model, 8, 8.0)
    for layer in lora_layers(model).values():
        start_pissa(layer)
    train_groups(speed_up(model), batches, steps, plus_groups(model, lr))
    return model
