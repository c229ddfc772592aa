"""The log of the first step in lesson 16's bug hunt. Read it after the hunt."""

from course_utils.methods.distributed import rows_of_process
from course_utils.training import lm_loss


def log_of_script(model, batch, world):
    """Lists by process: its rows, a sum over its weights, its target tokens, the divisor of its loss."""
    log = {"rows": [], "weights": [], "tokens": [], "divisors": []}
    for rank in range(world):
        rows = rows_of_process(len(batch["input_ids"]), rank, world)
        _, count = lm_loss(model, {name: value[rows] for name, value in batch.items()})
        log["rows"].append(rows)
        log["weights"].append(sum(p.detach().cpu().double().sum().item() for p in model.parameters()))
        log["tokens"].append(int(count))
        log["divisors"].append(int(count) * world)
    return log
