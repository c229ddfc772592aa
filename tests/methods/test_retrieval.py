import math

import pytest

from course_utils.methods.retrieval import Index, ask_with_passage, query_words, with_passage

DOCUMENTS = [
    "The capital of Zorvania is Keldrith.",
    "The capital of Belmoria is Tavask. Tavask lies by the sea: the capital has a harbour.",
    "Shops in Plovenia take the drelk.",
    "A wumpet eats grass.",
]


def bm25(query, documents, k1, b):
    """The definition, document by document and word by word (the form of Lucene, without its k1 + 1)."""
    texts = [[word.strip(".:?").lower() for word in text.split()] for text in documents]
    average = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for word in query.split():
            holding = sum(word in other for other in texts)
            rare = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            times = text.count(word)
            score += rare * times / (times + k1 * (1 - b + b * len(text) / average))
        scores.append(score)
    return scores


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (0.9, 0.4), (2.0, 0.0)])
@pytest.mark.parametrize(
    "query", ["capital of belmoria", "the sea", "the the tavask", "wumpet drelk nowhere"]
)
def test_scores_are_those_of_the_definition(query, k1, b):
    assert Index(DOCUMENTS, k1, b).scores(query) == pytest.approx(bm25(query, DOCUMENTS, k1, b), abs=1e-5)


def test_one_score_by_hand():
    # Documents of 6, 16, 6 and 4 words, 8 in the mean. "wumpet" stands once, in the shortest.
    rare = math.log(1 + 3.5 / 1.5)
    assert Index(DOCUMENTS).scores("Wumpet!") == pytest.approx(
        [0, 0, 0, rare / (1 + 1.5 * (0.25 + 0.75 * 4 / 8))], abs=1e-5
    )


def test_search_gives_the_best_first_and_nothing_that_shares_no_word():
    index = Index(DOCUMENTS)
    found = index.search("What is the capital of Belmoria?", 4)
    assert [text for text, _ in found] == [DOCUMENTS[1], DOCUMENTS[0], DOCUMENTS[2]]
    assert sorted((score for _, score in found), reverse=True) == [score for _, score in found]
    assert index.search("What is the capital of Belmoria?") == found[:1]
    assert index.search("xyzzy", 3) == index.search("", 3) == []


def test_equal_documents_keep_their_order():
    found = Index(["x one", "x two", "y"]).search("x", 2)
    assert [text for text, _ in found] == ["x one", "x two"]


def test_the_question_comes_after_what_was_found():
    assert ask_with_passage(Index(DOCUMENTS), "What does a wumpet eat?") == (
        "A wumpet eats grass. What does a wumpet eat?"
    )
    assert ask_with_passage(Index(DOCUMENTS), "Xyzzy?") == "Xyzzy?"
    assert with_passage("Why?", ["One.", "Two."]) == "One. Two. Why?"


def test_words_are_lower_case_and_without_punctuation():
    assert query_words("The Clockmaker's Orchard, 2nd ed.") == [
        "the",
        "clockmaker",
        "s",
        "orchard",
        "2nd",
        "ed",
    ]


@pytest.mark.parametrize("documents", [[], ["", " ... "]])
def test_an_index_of_nothing_is_refused(documents):
    with pytest.raises(ValueError, match="no word"):
        Index(documents)
