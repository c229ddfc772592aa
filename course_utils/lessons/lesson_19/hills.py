"""A teacher with two hills on a vocabulary of sixteen tokens, and students with only one hill."""

import torch

from course_utils.methods.distillation import token_kl

TOKENS = torch.arange(16.0)


def hill(centre, width):
    """Logits of a hill over the tokens: centre and width [...] -> [..., 16]."""
    return -((TOKENS - torch.as_tensor(centre)[..., None]) / torch.as_tensor(width)[..., None]).square() / 2


def two_hills(apart=8, share=0.6):
    """Logits of a teacher with a hill around token 4, weight `share`, and one `apart` tokens further on."""
    first, second = (hill(float(place), 0.9).softmax(-1) for place in (4, 4 + apart))
    return (share * first + (1 - share) * second).log()


def nearest_hill(teacher, direction):
    """Probabilities [16] of the single hill with the least KL from the teacher, and that KL; grid search."""
    centres, widths = torch.linspace(0, 15, 151), torch.linspace(0.3, 9, 88)
    students = hill(centres[:, None], widths[None])  # (centres, widths, tokens)
    values = token_kl(students, teacher, direction)
    best = students.flatten(0, 1)[values.flatten().argmin()]
    return best.softmax(-1), values.min().item()


def rare(teacher, limit=0.01):
    """True for each token with a teacher probability below `limit`, [16]."""
    return teacher.softmax(-1) < limit
