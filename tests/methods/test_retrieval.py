import math
import random

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.methods.retrieval import (
    Index,
    ask_with_passage,
    bm25_scores,
    choose_threshold,
    content_words,
    contrastive_loss,
    fuse,
    letter_pieces,
    query_words,
    text_vectors,
)

DOCUMENTS = [
    "The capital of Zorvania is Keldrith.",
    "The capital of Belmoria is Tavask. Tavask lies by the sea: the capital has a harbour.",
    "Shops in Plovenia take the drelk.",
    "A wumpet eats grass.",
]
WORDS = [query_words(text) for text in DOCUMENTS]


def bm25(query, documents, k1, b):
    """The definition, document by document and word by word (the form of Lucene, without its k1 + 1)."""
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for text in documents:
        score = 0.0
        for word in query:
            holding = sum(word in other for other in documents)
            rare = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            times = text.count(word)
            score += rare * times / (times + k1 * (1 - b + b * len(text) / average))
        scores.append(score)
    return scores


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (0.9, 0.4), (2.0, 0.0)])
@pytest.mark.parametrize(
    "query", ["capital of belmoria", "the sea", "the the tavask", "wumpet drelk nowhere"]
)
def test_scores_are_those_of_the_definition_and_of_bm25s(query, k1, b):
    import bm25s

    words = query.split()
    scores = bm25_scores(words, WORDS, k1, b)
    assert scores == pytest.approx(bm25(words, WORDS, k1, b), abs=1e-9)
    theirs = bm25s.BM25(k1=k1, b=b, method="lucene")
    theirs.index(WORDS, show_progress=False)
    known = [word for word in words if word in theirs.vocab_dict]
    assert theirs.get_scores(known).tolist() == pytest.approx(scores, abs=1e-5)


def test_one_score_by_hand():
    # Documents of 6, 16, 6 and 4 words, mean 8. "wumpet" occurs once, in the shortest.
    rare = math.log(1 + 3.5 / 1.5)
    assert Index(DOCUMENTS).scores("Wumpet!") == pytest.approx(
        [0, 0, 0, rare / (1 + 1.5 * (0.25 + 0.75 * 4 / 8))], abs=1e-9
    )


def test_search_gives_the_best_first_and_nothing_that_shares_no_content_word():
    index = Index(DOCUMENTS)
    found = index.search("What is the capital of Belmoria?", 4)
    assert [text for text, _ in found] == [DOCUMENTS[1], DOCUMENTS[0]]
    assert found[0][1] > found[1][1]
    assert index.search("What is the capital of Belmoria?") == found[:1]
    assert index.search("xyzzy", 3) == index.search("", 3) == index.search("Is it by the", 3) == []


def test_equal_documents_keep_their_order():
    found = Index(["x one", "x two", "y"]).search("x", 2)
    assert [text for text, _ in found] == ["x one", "x two"]


def test_an_index_calls_the_score_that_it_is_given():
    index = Index(DOCUMENTS, lambda query, documents: [float("wumpet" in each) for each in documents])
    assert index.search("capital") == [(DOCUMENTS[3], 1.0)]


def test_the_question_comes_after_what_was_found_at_the_threshold_or_above():
    index = Index(DOCUMENTS)
    [(_, score)] = index.search("What does a wumpet eat?")
    both = "A wumpet eats grass. What does a wumpet eat?"
    assert ask_with_passage(index, "What does a wumpet eat?") == both
    assert ask_with_passage(index, "What does a wumpet eat?", score) == both
    assert ask_with_passage(index, "What does a wumpet eat?", score + 1e-6) == "What does a wumpet eat?"
    assert ask_with_passage(index, "Xyzzy?", -math.inf) == "Xyzzy?"


def test_words_are_lower_case_and_without_punctuation():
    assert query_words("The Clockmaker's Orchard, 2nd ed.") == [
        "the",
        "clockmaker",
        "s",
        "orchard",
        "2nd",
        "ed",
    ]
    assert content_words("What is the capital of the Seychelles?") == ["capital", "seychelles"]


@pytest.mark.parametrize("documents", [[], ["", " ... "]])
def test_an_index_of_nothing_is_refused(documents):
    with pytest.raises(ValueError, match="no word"):
        Index(documents)


def test_pieces_are_runs_of_letters_with_marked_ends():
    assert letter_pieces(["Bodia", "a"]) == ["#Bod", "Bodi", "odia", "dia#", "#a#"]
    assert letter_pieces(["sea"], 3) == ["#se", "sea", "ea#"]


def test_the_contrastive_loss_is_that_of_its_definition():
    q, p = torch.randn(5, 8), 3 * torch.randn(5, 8)
    losses = []
    for row in range(5):
        scores = torch.stack([torch.cosine_similarity(q[row], p[n], dim=0) / 0.1 for n in range(5)])
        losses.append(-scores.softmax(0)[row].log())
    torch.testing.assert_close(contrastive_loss(q, p, 0.1), torch.stack(losses).mean())
    same = torch.ones(4, 8)
    assert contrastive_loss(same, same).item() == pytest.approx(math.log(4))
    assert contrastive_loss(torch.eye(4), torch.eye(4)).item() < 1e-6


def test_an_embedding_does_not_depend_on_its_neighbours():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    texts = ["the cat", "Question: is the capital of France Paris? Answer: a cat", "mat"]
    together = text_vectors(model, tokenizer, texts)
    alone = torch.cat([text_vectors(model, tokenizer, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))


def test_ranks_are_fused_and_what_is_not_found_has_none():
    first, second = [3.0, 2.0, 0.0], [0.1, 0.9, 0.5]
    assert fuse(first, second) == pytest.approx([1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 62])
    assert fuse([0.0, 0.0], [0.2, 0.1]) == pytest.approx([1 / 61, 1 / 62])


def test_no_threshold_decides_better():
    rng = random.Random(0)
    for count in (1, 2, 5, 30):
        for _ in range(20):
            scores = [rng.choice((1.0, 2.0, 2.5, 4.0, rng.uniform(0, 5))) for _ in range(count)]
            answers = [score + rng.gauss(0, 1.5) > 2.5 for score in scores]

            def right(threshold, scores=scores, answers=answers):
                return sum((s >= threshold) == good for s, good in zip(scores, answers, strict=True))

            chosen = choose_threshold(scores, answers)
            tried = [n / 50 for n in range(-10, 300)]
            assert right(chosen) >= max(map(right, tried))
            assert chosen not in scores
            lower = [t for t in tried if any(t <= score < chosen for score in scores)]
            assert all(right(threshold) < right(chosen) for threshold in lower)
