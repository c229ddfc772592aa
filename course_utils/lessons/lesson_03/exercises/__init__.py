"""Exercises of lesson 03: LoRA in four parts, two bug hunts; of its companion the gradients by hand."""

from course_utils.lessons.lesson_03.exercises import (
    LoRALinear,
    LowRankChange,
    apply_lora,
    lora_gradients,
    merge_fault,
    merge_lora,
    why_it_never_learns,
)

EXERCISES = [
    module.EXERCISE
    for module in (
        LowRankChange,
        LoRALinear,
        apply_lora,
        why_it_never_learns,
        merge_lora,
        merge_fault,
        lora_gradients,
    )
]
