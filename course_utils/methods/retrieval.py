"""Finding the passage that answers a question: by words (BM25), by embeddings, or by both."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Batch, collate, encode_text
from course_utils.log_probs import last_hidden

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FUNCTION_WORDS = set(
    """
    a an and are at be been by can do does for from had has have how i if in into is it its of on or that
    the their them then there they this to was were what when where which who whom will with you your
    """.split()
)


def query_words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return re.findall(r"\w+", text.lower())


def content_words(text: str) -> list[str]:
    """The words of a text without stop words."""
    return [word for word in query_words(text) if word not in FUNCTION_WORDS]


def letter_pieces(words: Sequence[str], size: int = 4) -> list[str]:
    """All substrings of `size` letters of each word, whose ends are marked: "#sea", "sea#"."""
    marked = [f"#{word}#" for word in words]
    return [word[start : start + size] for word in marked for start in range(max(1, len(word) - size + 1))]


def bm25_scores(
    query: Sequence[str], documents: Sequence[Sequence[str]], k1: float = 1.5, b: float = 0.75
) -> list[float]:
    """BM25 scores of a query, a list of words, for each document, a list of words: a list of numbers.

    Robertson and Zaragoza 2009, with Lucene's idf, which is never negative.
    """
    import math

    average = sum(len(document) for document in documents) / len(documents)
    scores = [0.0] * len(documents)
    for word in query:
        counts = [document.count(word) for document in documents]
        holding = sum(count > 0 for count in counts)
        idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
        for place, (count, document) in enumerate(zip(counts, documents, strict=True)):
            length = 1 - b + b * len(document) / average
            scores[place] += idf * count / (count + k1 * length)
    return scores


@torch.no_grad()
def text_vectors(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch_size: int = 64
) -> Tensor:
    """Unit vectors [texts, width]: the mean of a text's last hidden states."""
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(texts), batch_size):
        batch = text_batch(tokenizer, texts[start : start + batch_size])
        parts.append(mean_hidden(model, {name: value.to(device) for name, value in batch.items()}))
    return F.normalize(torch.cat(parts), dim=-1)


def text_batch(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict:
    """The texts as a padded batch, without loss."""
    return collate([encode_text(tokenizer, text) for text in texts], tokenizer.pad_token_id)


def mean_hidden(model: nn.Module, batch: Batch) -> Tensor:
    """[rows, width]: the mean of what the output head reads, over real tokens."""
    mask = batch["attention_mask"][..., None]  # (rows, tokens, 1)
    return (last_hidden(model, batch) * mask).sum(1) / mask.sum(1)


def contrastive_loss(questions: Tensor, passages: Tensor, temperature: float = 0.05) -> Tensor:
    """Mean loss of picking each question's own passage among those of the batch, in nats (InfoNCE).

    questions, passages [rows, width]; row i of one belongs to row i of the other. The score is the cosine
    divided by the temperature.
    """
    q = torch.nn.functional.normalize(questions, dim=-1)
    p = torch.nn.functional.normalize(passages, dim=-1)
    scores = q @ p.T / temperature  # (rows, rows)
    own = torch.arange(len(scores), device=scores.device)
    return torch.nn.functional.cross_entropy(scores, own)


def fuse(*scores: Sequence[float], k: int = 60) -> list[float]:
    """Reciprocal rank fusion (Cormack et al. 2009): the sum of 1 / (k + rank) over the retrievers.

    A document with a score of at most 0 has no rank and contributes nothing.
    """
    total = [0.0] * len(scores[0])
    for each in scores:
        found = [place for place, score in enumerate(each) if score > 0]
        order = sorted(found, key=lambda place: -each[place])
        for rank, place in enumerate(order, 1):
            total[place] += 1 / (k + rank)
    return total


class Index:
    """BM25 over documents, by the query's content words. score: a function like bm25_scores."""

    def __init__(self, documents: Sequence[str], score: Callable = bm25_scores) -> None:
        self.documents, self.score = list(documents), score
        self.words = [query_words(text) for text in documents]
        if not any(self.words):
            raise ValueError("the documents have no words, so nothing can be found in them")

    def scores(self, query: str) -> list[float]:
        """The query's score for each document; 0 if they share no content word."""
        return list(self.score(content_words(query), self.words))

    def search(self, query: str, count: int = 1) -> list[tuple[str, float]]:
        """(document, score) of the best `count`, best first; fewer if fewer share a word."""
        scores = self.scores(query)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        return [(self.documents[place], scores[place]) for place in order[:count] if scores[place] > 0]


def ask_with_passage(index: Index, question: str, threshold: float = 0.0) -> str:
    """The input for the model: the question, after the best passage if its score reaches the threshold."""
    found = [text for text, score in index.search(question) if score >= threshold]
    return " ".join([*found, question])


def choose_threshold(scores: Sequence[float], answers: Sequence[bool]) -> float:
    """The threshold with the most right decisions; of several, the lowest.

    scores: of each question's best passage; answers: whether that passage answers it. A passage is shown if
    its score is at least the threshold, which is right if it answers. Candidates: -inf, the midpoints
    between neighbouring scores, inf.
    """
    ordered = sorted(set(scores))
    middles = [(low + high) / 2 for low, high in itertools.pairwise(ordered)]
    candidates = [float("-inf"), *middles, float("inf")]

    def right(threshold: float) -> int:
        return sum((score >= threshold) == good for score, good in zip(scores, answers, strict=True))

    return max(candidates, key=right)
