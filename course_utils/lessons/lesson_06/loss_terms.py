"""Lesson 06's approximation of how a change of the logits changes the loss."""


def loss_terms(logits, change, targets):
    """Terms of the rise of each token's loss when `change` is added to its logits: (first [n], second [n]).

    logits and change [n, vocabulary], targets [n]. With p = softmax(logits): first is the mean of the change
    under p minus its value at the target, second is half its variance under p.
    """
    p = logits.softmax(-1)
    mean = (p * change).sum(-1)  # (n,)
    variance = (p * (change - mean[:, None]).square()).sum(-1)
    at_target = change.gather(1, targets[:, None]).squeeze(1)
    return mean - at_target, variance / 2
