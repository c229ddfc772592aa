"""What lesson 10 alone needs: the pair loss as a learner writes it, and an interval for shares of pairs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from course_utils.preferences import Pair, request


def bradley_terry_loss(chosen, rejected):
    """Mean over pairs of -log sigmoid(chosen - rejected), scores [pairs] (Bradley and Terry 1952)."""
    return -F.logsigmoid(chosen - rejected).mean()


def share_right(
    chosen: torch.Tensor, rejected: torch.Tensor, pairs: Sequence[Pair], draws: int = 1000
) -> tuple[float, float, float]:
    """(share of pairs in which the chosen answer scores higher, low, high): a 95% interval over requests.

    Pairs of one request share answers, so requests are drawn anew and not pairs. Ties count half.
    """
    right = (chosen > rejected).float() + 0.5 * (chosen == rejected).float()  # (pairs,)
    asked = [request(pair.prompt) for pair in pairs]
    places = {text: place for place, text in enumerate(dict.fromkeys(asked))}
    member = F.one_hot(torch.tensor([places[text] for text in asked]), len(places)).float()
    sums, counts = right @ member, member.sum(0)  # (requests,)
    rows = torch.randint(len(places), (draws, len(places)), generator=torch.Generator().manual_seed(0))
    shares = sums[rows].sum(1) / counts[rows].sum(1)
    low, high = shares.quantile(torch.tensor([0.025, 0.975])).tolist()
    return right.mean().item(), low, high
