"""pass@k from many samples, its interval over questions, and votes."""

import math
from collections import Counter
from collections.abc import Sequence

import torch

KS = (1, 2, 4, 8, 16, 32, 64)


def pass_at_k(right, total, k):
    """Chance that at least one of k answers is right, [questions], where `right` of `total` answers were.

    1 - C(total - right, k) / C(total, k): the mean over all choices of k of the answers, so unbiased (Chen et
    al. 2021, arXiv 2107.03374). right [questions], whole numbers.
    """
    chances = [1 - math.comb(total - int(count), k) / math.comb(total, k) for count in right]
    return torch.tensor(chances)


def question_interval(values, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high): 95% bootstrap interval of the mean over questions."""
    values = torch.as_tensor(values, dtype=torch.float)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (draws, len(values)), generator=generator)
    means = values[drawn].mean(1).sort().values
    return values.mean().item(), means[int(0.025 * draws)].item(), means[int(0.975 * draws)].item()


def majority(texts: Sequence[str]) -> str:
    """The most common answer; of equally common ones, the first."""
    return Counter(texts).most_common(1)[0][0]


def shifted(rows: Sequence[dict]) -> list[dict]:
    """The rows, each with the answers of the next row of the same relations: what is right by chance.

    If there is none, those of the next row.
    """
    result = []
    for place, row in enumerate(rows):
        following = [*rows[place + 1 :], *rows[:place]]
        alike = [other for other in following if other["relations"] == row["relations"]]
        result.append({**row, "answers": (alike or following)[0]["answers"]})
    return result
