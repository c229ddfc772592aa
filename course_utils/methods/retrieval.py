"""Finding the passage that answers a question: BM25 (Robertson and Zaragoza 2009) over a few documents.

bm25s is imported where an index is made, so that the package loads without it.
"""

import re
from collections.abc import Sequence


def query_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


class Index:
    """BM25 over documents, built once. Needs bm25s."""

    def __init__(self, documents: Sequence[str], k1: float = 1.5, b: float = 0.75):
        import bm25s

        if not any(query_words(text) for text in documents):
            raise ValueError("there is no word in the documents, so nothing can be found in them")
        self.documents = list(documents)
        self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._bm25.index([query_words(text) for text in documents], show_progress=False)

    def scores(self, query: str) -> list[float]:
        """The query's score with each document, a list [documents]; 0 where no word is shared."""
        known = [word for word in query_words(query) if word in self._bm25.vocab_dict]
        return self._bm25.get_scores(known).tolist() if known else [0.0] * len(self.documents)

    def search(self, query: str, count: int = 1) -> list[tuple[str, float]]:
        """(document, score) of the best `count`, the best first; fewer where fewer share a word."""
        scores = self.scores(query)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [(self.documents[index], scores[index]) for index in order[:count] if scores[index] > 0]


def with_passage(question: str, passages: Sequence[str]) -> str:
    """The question as a user's message, the passages before it; the question alone if there are none."""
    return " ".join([*passages, question])


def ask_with_passage(index: Index, question: str, count: int = 1) -> str:
    """What to ask the model: the question with the `count` passages that fit it best before it."""
    return with_passage(question, [text for text, _ in index.search(question, count)])
