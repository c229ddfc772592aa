"""Tables and texts side by side: the text outside a notebook, the HTML in one."""

import pytest

from course_utils.checks import show_table, show_texts

ROWS = [
    {"method": "LoRA", "answered": (0.9, 0.85, 0.94), "loss": 0.1234, "bytes": 1_234_567},
    {"method": "full", "answered": (0.8, 0.75, 0.84), "loss": 0.05, "bytes": None},
]
OPTIONS = {"units": {"answered": "%", "loss": "nats"}, "best": {"answered": max, "loss": min}}


def test_a_table_in_text_has_units_intervals_and_the_best_marked(capsys):
    show_table(ROWS, "Methods", **OPTIONS)
    assert capsys.readouterr().out.splitlines() == [
        "Methods",
        "method           answered (%)  loss (nats)      bytes",
        "LoRA    90.0 (85.0 to 94.0) \u2605        0.123  1,234,567",
        "full      80.0 (75.0 to 84.0)     0.0500 \u2605",
        "\u2605 best of its column",
    ]


def test_a_table_in_a_notebook_has_headers_and_escapes_its_cells(displayed):
    show_table([{"name": "<LoRA>", "a": 1}, {"name": "b", "a": 2}], best={"a": max})
    html = displayed[0]["text/html"]
    assert '<th scope="col"' in html and '<th scope="row" style="text-align:left">&lt;LoRA&gt;</th>' in html
    assert html.count("<b>") == 1 and "<b>2 \u2605</b>" in html
    assert "&lt;" not in displayed[0]["text/plain"]


def test_texts_stand_side_by_side_with_the_differences_marked(displayed):
    show_texts({"before": ["The cat <sat> down."], "after": ["The old cat <sat>."]}, ["Tell it again"])
    html = displayed[0]["text/html"]
    assert html.count("<u") == 3
    assert "The <u" in html and ">old </u>cat <u" in html and ">&lt;sat&gt; down.</u>" in html
    assert html.index("Tell it again") < html.index("The ")
    first, head, *_, line = filter(None, displayed[0]["text/plain"].splitlines())
    assert first == "Tell it again" and head.split() == ["before", "after"]
    assert line.split("  ")[0] == "The cat [<sat> down.]" and line.rstrip().endswith("The [old] cat [<sat>.]")


def test_nothing_is_marked_in_texts_that_have_little_in_common(displayed):
    show_texts({"before": ["A cat sat down here."], "after": ["The cat was seen by us."]})
    assert "<u" not in displayed[0]["text/html"] and "[" not in displayed[0]["text/plain"]


def test_digits_of_a_column_end_alike(capsys):
    show_table([{"run": "a", "gold": (0.541, 0.478, 0.6), "kl": 0.0}])
    assert capsys.readouterr().out.splitlines()[1] == "a    0.541 (0.478 to 0.600)   0"


def test_texts_are_wrapped_at_words(capsys):
    words = "word " * 60
    show_texts({"before": [words], "after": [words]})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 92 and len(lines) > 5
    assert {word for line in lines[2:] for word in line.split()} == {"word"}


def test_as_many_texts_in_each_column():
    with pytest.raises(ValueError):
        show_texts({"before": ["a"], "after": []})
    with pytest.raises(ValueError, match="1 prompts for 2 texts"):
        show_texts({"before": ["a", "b"], "after": ["c", "d"]}, ["one"])
