import re
from types import SimpleNamespace

from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_utils.commands import run_page as page_of_run
from course_utils.replicate import page as page_of_replicate

RESULTS = {"model": "pocket", "scale": "quick", "seed": 0, "jobs": 2, "seconds": 3832.7}
RESULTS |= {"created": "2026-01-02T03:04:05", "versions": {"python": "3.11", "torch": "2"}}


def lesson(name, **changes):
    row = {"lesson": name, "title": f"{name} & more", "status": "passed", "seconds": 229.9, "error": ""}
    return {**row, "peak_bytes": 3 * 2**28, "page": f"{name}.html", "log": f"{name}.log", **changes}


def claim(text, margin=None, holds=True, binding=True, lesson="01_a #1", **changes):
    record = {
        "text": text,
        "value": 1,
        "shown": "1 nat",
        "bound": "at most 2 nats",
        "margin": margin,
        "holds": holds,
    }
    record |= {
        "lesson": lesson,
        "cell": f"cell {text[0]}",
        "binding": binding,
        "stored": False,
        "headline": False,
    }
    outcome = "only <shown>" if not binding else "holds" if holds else "DOES NOT HOLD"
    return {**record, "outcome": outcome, **changes}


def page(lessons, found, figures=None):
    return page_of_run.run_page({**RESULTS, "lessons": lessons, "claims": found}, figures or {})


def test_lessons_with_time_in_minutes_and_links_that_survive_odd_names():
    failed = lesson("02_b", status="failed", error="KeyError: '<a>'", log="02 b?.log")
    html = page([lesson("01_a #1"), failed], [])
    assert "1 of 2 lessons passed" in html and "63.9 min in all" in html and "3.8 min" in html
    assert "768 MiB" in html and "3832" not in html
    assert 'href="01_a%20%231.html">01_a #1 &amp; more</a>' in html
    assert "failed: KeyError: &#39;&lt;a&gt;&#39;" in html and 'href="02%20b%3F.log"' in html
    assert "<details" not in html and "Figures" not in html


def test_claims_stand_folded_by_lesson_and_by_the_room_left():
    found = [
        claim("wide", 0.5),
        claim("identity"),
        claim("tight", 0.01, stored=True),
        claim("Broken", holds=False),
    ]
    found += [claim("<other>", lesson="02_b", binding=False, holds=False)]
    html = page([lesson("01_a #1"), lesson("02_b"), lesson("03_c")], found)
    first, second = re.findall("<details id.*?</details>", html, re.DOTALL)
    assert re.findall('">(\\w+)</a></th>', first) == ["Broken", "tight", "wide", "identity"]
    assert 'href="01_a%20%231.html#cell-id=cell%20t">tight' in first
    assert (
        "4 claims, 1 of which does not hold" in first and first.count('class="bad">DOES NOT HOLD</td>') == 1
    )
    assert "1%</td>" in first and "50%</td>" in first and first.count("from stored runs") == 1
    assert (
        "&lt;other&gt;" in second
        and "1 claim, not judged at this scale or with this model" in second
        and "only &lt;shown&gt;" in second
    )
    assert html.count('href="#claims-') == 2
    assert "2 claims, all hold" in page([lesson("01_a #1")], [claim("a", 0.1), claim("b", 0.1)])


def figure(name, margin, **changes):
    return {
        "cell": "c",
        "claim": claim(name, margin, **changes),
        "source": f"data:{name}",
        "alt": f'of "{name}"',
    }


def test_the_three_figures_whose_claim_has_the_least_room_are_shown():
    names = ["01_a", "02_b", "03_c", "04_d"]
    margins = [0.5, 0.1, None, 0.2]
    figures = {name: figure(name, margin) for name, margin in zip(names, margins, strict=True)}
    html = page([lesson(name) for name in names], [], figures)
    assert re.findall('src="data:(.*?)"', html) == ["02_b", "04_d", "01_a"]
    assert 'alt="of &#34;02_b&#34;"' in html and '<a href="02_b.html#cell-id=c">' in html
    figures["03_c"] = figure("03_c", None, holds=False)
    assert re.findall('src="data:(.*?)"', page(list(map(lesson, names)), [], figures)) == [
        "03_c",
        "02_b",
        "04_d",
    ]


def notebook(*cells):
    """A notebook of cells that each show pictures and then claims."""
    made = []
    for number, (pictures, records) in enumerate(cells):
        htmls = [
            f'<figure><img alt="of &quot;{name}&quot;" src="data:image/png;base64,{name}"></figure>'
            for name in pictures
        ]
        outputs = [new_output("display_data", {"text/html": html}) for html in [*htmls, "<b>1</b>"]]
        outputs.append(
            new_output("display_data", {"text/plain": ""}, metadata={"course": {"claims": records}})
        )
        made.append(new_code_cell("", outputs=outputs, id=f"cell-{number}"))
    return new_notebook(cells=made)


def test_a_lessons_figure_is_the_last_one_down_to_its_headline_claim():
    head, tight, wide = claim("head", 0.9, headline=True), claim("tight", 0.1), claim("wide", 0.9)
    found = page_of_run.headline_figure(notebook(("A", [tight]), ("BC", [head]), ("D", [])))
    assert found == {"cell": "cell-1", "claim": head, "source": "data:image/png;base64,C", "alt": 'of "C"'}
    unmarked = page_of_run.headline_figure(notebook(("A", [tight]), ("B", [wide])))
    assert unmarked["source"] == "data:image/png;base64,A"
    assert page_of_run.headline_figure(notebook(("", [head]), ("A", []))) is None
    assert page_of_run.headline_figure({}) is None


def test_a_tagged_cell_has_the_headlines_figure_wherever_it_stands():
    head, tight = claim("head", 0.9, headline=True), claim("tight", 0.1)
    for cells in ((("A", [tight]), ("B", []), ("C", [head])), (("", [head]), ("B", []), ("C", [tight]))):
        lesson = notebook(*cells)
        lesson.cells[1].metadata.tags = ["headline-figure"]
        found = page_of_run.headline_figure(lesson)
        assert (found["claim"], found["alt"]) == (head, 'of "B"')


def test_rows_on_other_models_stand_below_the_lessons(monkeypatch):
    assert "<h2>Does it hold on other models?</h2>" in page([lesson("01_a")], [])
    row = {"row": SimpleNamespace(lesson="03", headline="a < b"), "cells": {"m": {"outcome": "differs"}}}
    models = [{"name": "m", "title": "A model"}, {"name": "n", "title": "Another"}]
    monkeypatch.setattr(page_of_replicate, "outcome_table", lambda: {"models": models, "rows": [row]})
    html = page([lesson("01_a")], [])
    assert "03: a &lt; b</th>" in html
    assert re.findall('data-name="(.*?)" class="(.*?)">(.*?)<', html) == [
        ("A model", "bad", "differs"),
        ("Another", "note", "not run"),
    ]
