"""Slides are made from the saved lessons; errors name the slide."""

import pytest

from course_utils.commands import cli, slides


@pytest.mark.parametrize("name", slides.deck_names())
def test_each_deck_finds_its_figures_and_claims(name):
    found = slides.slides_of(name)
    assert 8 <= len(found) <= 18 and sum(len(one["figures"]) for one in found) >= 5
    assert all(one["title"] and (one["text"] or one["figures"] or one["claims"]) for one in found)


def test_there_are_three_sessions():
    assert slides.deck_names() == ["fine-tuning", "lora", "preferences"]


def test_a_figure_is_found_by_words_of_its_title_or_caption():
    by_title = slides.figure_of("03", "One layer learns, three do not")
    by_caption = slides.figure_of("03", "to learn one change of a matrix")
    assert by_title == by_caption and by_title["source"].startswith("data:image/png;base64,")
    assert by_title["alt"].startswith("One layer learns")


def test_a_prediction_is_asked_for_before_its_answer_is_shown():
    both = [one for one in slides.slides_of("lora") if one["title"] == "How low can the rank go?"]
    assert [len(one["figures"]) + len(one["claims"]) for one in both] == [0, 2]


def test_a_claim_comes_with_what_was_measured():
    claim = slides.claim_of("01", "headline")
    assert claim["headline"] and claim["shown"].endswith("%")


def test_the_page_holds_pictures_and_needs_nothing_else(tmp_path):
    page = slides.slides_page("lora")
    count = len(slides.slides_of("lora"))
    assert page.count("<section") == count and f"{count} of {count}" in page
    assert "http" not in page.replace("http-equiv", "").split("base64")[0]
    assert page.count("<img ") == page.count('src="data:image/png;base64,')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "figure: 03 No such thing",
            r"broken.md, slide 2: lesson 03 has no figure 'No such thing'. Its figures: ",
        ),
        (
            "claim: 03 no_such_thing",
            r"broken.md, slide 2: lesson 03 has no claim 'no_such_thing'. Its claims: ",
        ),
        ("figure: 77 Any", r"broken.md, slide 2: There is no lesson '77'"),
    ],
)
def test_what_is_not_there_is_said_with_the_slide(tmp_path, monkeypatch, line, message):
    monkeypatch.setattr(slides, "DECKS", tmp_path)
    monkeypatch.setattr(slides, "ROOT", tmp_path)
    (tmp_path / "broken.md").write_text(f"# A\n\ntext\n---\n# B\n\n{line}\n")
    with pytest.raises(ValueError, match=message):
        slides.slides_of("broken")


def test_the_command_names_the_decks(tmp_path, capsys):
    assert cli.main(["slides", "lora", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "lora.html").stat().st_size > 50_000
    assert cli.main(["slides", "golf", "--out", str(tmp_path)]) == 1
    assert "Choose from: fine-tuning, lora, preferences" in capsys.readouterr().err
