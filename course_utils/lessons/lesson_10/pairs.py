"""For lesson 10 only: the pair loss as a learner writes it, batches of pairs, an interval."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from course_utils.data import collate_pairs, shuffled_batches
from course_utils.methods.reward import BATCH, collate_states
from course_utils.preferences import Pair, request


def bradley_terry_loss(chosen, rejected):
    """Mean over pairs of -log sigmoid(chosen - rejected), scores [pairs] (Bradley and Terry 1952)."""
    return -F.logsigmoid(chosen - rejected).mean()


def share_right(
    chosen: torch.Tensor, rejected: torch.Tensor, pairs: Sequence[Pair], draws: int = 1000
) -> tuple[float, float, float]:
    """(share of pairs in which the chosen answer scores higher, low, high): a 95% interval over requests.

    Pairs of one request share answers, so requests are resampled, not pairs. Ties count half.
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


def endless_pairs(pairs, pad_id: int, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless shuffled batches of pairs from reward.prepare_pairs, the chosen rows first."""
    if isinstance(pairs[0][0], torch.Tensor):
        return shuffled_batches(pairs, BATCH, seed, collate_states, lambda pair: max(map(len, pair)))
    return shuffled_batches(
        pairs,
        BATCH,
        seed,
        lambda chunk: collate_pairs(chunk, pad_id),
        lambda pair: max(len(example.input_ids) for example in pair),
    )
