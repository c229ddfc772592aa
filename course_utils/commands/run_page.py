"""The first page of `run`, index.html: lessons, the main figures, and all claims."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from urllib.parse import quote

from course_utils.checks import claims
from course_utils.templates import templates

MOST_FIGURES = 3


def run_page(results: dict, figures: dict[str, dict]) -> str:
    """index.html of a run; results as in results.json, figures by lesson from headline_figure."""
    from course_utils.replicate.page import outcome_table  # loads all lessons' experiments

    pages = {lesson["lesson"]: lesson["page"] for lesson in results["lessons"]}
    titles = {lesson["lesson"]: lesson["title"] for lesson in results["lessons"]}
    rows = [
        {**claim, "link": _link(pages[claim["lesson"]], claim["cell"]), "broken": _is_broken(claim)}
        for claim in sorted(results["claims"], key=_by_margin)
    ]
    by_lesson = {name: [row for row in rows if row["lesson"] == name] for name in pages}
    pictures = [
        {**figure, "title": titles[name], "link": _link(pages[name], figure["cell"])}
        for name, figure in sorted(figures.items(), key=lambda item: _by_margin(item[1]["claim"]))
    ]
    return templates.get_template("run.html").render(
        results,
        lessons=[
            {
                **lesson,
                "claims": by_lesson[lesson["lesson"]],
                "verdict": _verdict(by_lesson[lesson["lesson"]]),
            }
            for lesson in results["lessons"]
        ],
        passed=sum(lesson["status"] == "passed" for lesson in results["lessons"]),
        figures=pictures[:MOST_FIGURES],
        holds=outcome_table(),
    )


def headline_figure(notebook: dict) -> dict | None:
    """The figure of a lesson's headline claim, or None.

    It is the picture of the cell tagged `headline-figure`, otherwise the last one up to the claim's cell.
    Without a headline claim, the claim with the smallest margin is used. Returns cell (its id), claim (the
    record), source, alt.
    """
    pictures, found, chosen = [], [], {}
    for cell in notebook.get("cells", []):
        for output in cell.get("outputs", []):
            pictures += pictures_in("".join(output.get("data", {}).get("text/html", "")))
        if pictures and "headline-figure" in cell.get("metadata", {}).get("tags", []):
            chosen = pictures[-1]
        records = claims.read({"cells": [cell]})
        found += [{"cell": cell["id"], "claim": record, **(pictures or [{}])[-1]} for record in records]
    found = [{**one, **chosen} for one in found if chosen or "source" in one]
    found = [one for one in found if one["claim"]["headline"]] or found
    return min(found, key=lambda one: _by_margin(one["claim"]), default=None)


def pictures_in(html: str) -> list[dict]:
    """{"source", "alt"} of each picture embedded in the HTML."""
    return _Pictures(html).found


class _Pictures(HTMLParser):
    """Collects source and alternative text of pictures embedded in HTML."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[dict] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        if tag == "img" and (values.get("src") or "").startswith("data:image/"):
            self.found.append({"source": values["src"], "alt": values.get("alt") or "a figure"})


def _by_margin(claim: dict) -> tuple[bool, float]:
    """Sort key of claims: broken ones first, then by margin to the bound; claims without one last."""
    return not _is_broken(claim), math.inf if claim["margin"] is None else claim["margin"]


def _is_broken(claim: dict) -> bool:
    return claim["binding"] and not claim["holds"]


def _link(page: str, cell: str) -> str:
    """The address of a cell on its lesson's page; nbconvert makes the anchors."""
    return f"{quote(page)}#cell-id={quote(cell)}"


def _verdict(found: list[dict]) -> str:
    """A summary of a lesson's claims in words."""
    count = f"{len(found)} claim{'s' * (len(found) != 1)}"
    broken, judged = sum(map(_is_broken, found)), sum(claim["binding"] for claim in found)
    if broken:
        return f"{count}, {broken} of which {'do' if broken > 1 else 'does'} not hold"
    if not judged:
        return f"{count}, not judged at this scale or with this model"
    if judged < len(found):
        return f"{count}, {judged} of which judged"
    return f"{count}, all hold"
