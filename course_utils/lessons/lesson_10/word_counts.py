"""A cheap opponent for the reward model: logistic regression on the counts of words.

The same optimum as scikit-learn's LogisticRegression(C=1 / penalty, fit_intercept=False) on the differences
of the counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from course_utils.methods.reward import bradley_terry_loss
from course_utils.preferences import Pair, request

WORD = re.compile(r"[a-z']+|[^\sa-z']")  # a word or a punctuation mark, in lower case
RARE = 10  # texts; a word that stands in fewer has no weight
PENALTIES = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
PATIENCE = 200  # iterations of L-BFGS
LENGTH = 90  # words and punctuation marks, about as many as a story has


class WordCounts:
    """A weight for each word; the score of a text is the sum of its words' weights.

    shares: the sum of a text of LENGTH words in which each word has the same share, so length does not count.
    """

    def __init__(self, words: Sequence[str], shares: bool = False):
        self.shares = shares
        self.places = {word: place for place, word in enumerate(words)}
        self.weights = torch.zeros(len(words), dtype=torch.double)

    def counts(self, texts: Sequence[str]) -> torch.Tensor:
        """How often each known word occurs in each text, [texts, words]."""
        found = torch.zeros(len(texts), len(self.places), dtype=torch.double)
        for row, text in enumerate(texts):
            for word, count in Counter(WORD.findall(text.lower())).items():
                if word in self.places:
                    found[row, self.places[word]] = count
        return LENGTH * found / found.sum(1, keepdim=True).clamp(min=1) if self.shares else found

    def scores(self, texts: Sequence[str]) -> torch.Tensor:
        return self.counts(texts) @ self.weights

    def pair_scores(self, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the chosen and of the rejected answers, [pairs] each."""
        return self.scores([pair.chosen for pair in pairs]), self.scores([pair.rejected for pair in pairs])


def fit_word_counts(pairs: Sequence[Pair], penalty: float, shares: bool = False) -> WordCounts:
    """The weights that minimise the summed Bradley-Terry loss plus penalty / 2 times their squares' sum."""
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    seen_in = Counter(word for text in texts for word in set(WORD.findall(text.lower())))
    model = WordCounts(sorted(word for word, found in seen_in.items() if found >= RARE), shares)
    difference = model.counts(texts[::2]) - model.counts(texts[1::2])  # (pairs, words)
    weights = torch.zeros_like(model.weights, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=PATIENCE, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        loss = -F.logsigmoid(difference @ weights).sum() + penalty / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    model.weights = weights.detach()
    return model


def best_penalty(
    pairs: Sequence[Pair], penalties: Sequence[float] = PENALTIES, shares: bool = False
) -> float:
    """The penalty with the lowest loss on the pairs of every fifth request, trained on the others'."""
    asked = sorted({request(pair.prompt) for pair in pairs})
    kept_out = set(asked[::5])
    rest = [pair for pair in pairs if request(pair.prompt) not in kept_out]
    checked = [pair for pair in pairs if request(pair.prompt) in kept_out]
    losses = {
        penalty: bradley_terry_loss(*fit_word_counts(rest, penalty, shares).pair_scores(checked)).item()
        for penalty in penalties
    }
    return min(losses, key=losses.__getitem__)
