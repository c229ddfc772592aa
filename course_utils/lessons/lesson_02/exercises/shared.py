"""What exercises of lesson 02 share: a loss to train with."""


def squared_error(model, batch):
    """Summed loss of the rows that count, and their number."""
    errors = (model(batch["x"]) - batch["y"]).square().sum(1)
    return (errors * batch["counts"]).sum(), batch["counts"].sum()
