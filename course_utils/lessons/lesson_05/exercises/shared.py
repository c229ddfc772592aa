"""The check of a pair of factors, shared by exercises of lesson 05."""

import torch

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import expect_tensor


def expect_pair(result):
    if result is None:
        raise Mistake("the result is None. Is there a return?")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: A and B.")
    for value in result:
        if expect_tensor(value).dtype != torch.float32:
            raise Mistake(f"A and B should keep the dtype torch.float32, but one has {value.dtype}.")
    return list(result)
