"""The first page of `run`, index.html: lessons, the figures to look at first, and all claims."""

from __future__ import annotations

import base64
import math
from urllib.parse import quote

from course_utils.checks import claims
from course_utils.templates import templates

PICTURES = ("image/svg+xml", "image/png")
MOST_FIGURES = 3


def run_page(results: dict, figures: dict[str, dict]) -> str:
    """index.html of a run; results as in results.json, figures by lesson as headline_figure gives them."""
    pages = {lesson["lesson"]: lesson["page"] for lesson in results["lessons"]}
    titles = {lesson["lesson"]: lesson["title"] for lesson in results["lessons"]}
    older = {"shown": "", "room": None, "stored": False}  # what records of an older form lack
    rows = [
        {**older, **claim, "link": _link(pages[claim["lesson"]], claim["cell"]), "broken": _is_broken(claim)}
        for claim in sorted(results["claims"], key=_by_room)
    ]
    by_lesson = {name: [row for row in rows if row["lesson"] == name] for name in pages}
    pictures = [
        {**figure, "title": titles[name], "link": _link(pages[name], figure["cell"])}
        for name, figure in sorted(figures.items(), key=lambda item: _by_room(item[1]["claim"]))
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
    )


def headline_figure(notebook: dict) -> dict | None:
    """The figure of a lesson's headline claim, or None where there is none.

    It is the last picture down to the end of the claim's cell. Where no claim is marked as the headline, the
    one with the least room left counts as it. Returns cell (its id), claim (the record), source, alt.
    """
    picture, found = None, []
    for cell in notebook.get("cells", []):
        for output in cell.get("outputs", []):
            picture = _picture(output) or picture
        if picture:
            found += [
                {"cell": cell["id"], "claim": record, **picture} for record in claims.read({"cells": [cell]})
            ]
    found = [one for one in found if one["claim"].get("headline")] or found
    return min(found, key=lambda one: _by_room(one["claim"]), default=None)


def _picture(output: dict) -> dict | None:
    """Source and alternative text of an output that is a picture."""
    for kind in PICTURES:
        if kind in output.get("data", {}):
            data = "".join(output["data"][kind])
            code = data if kind == "image/png" else base64.b64encode(data.encode()).decode()
            metadata = output.get("metadata", {})
            alt = metadata.get(kind, {}).get("alt") or metadata.get("alt") or "a figure without a description"
            return {"source": f"data:{kind};base64,{''.join(code.split())}", "alt": alt}
    return None


def _by_room(claim: dict) -> tuple[bool, float]:
    """Sorts claims: first what binds and does not hold, then by the room left, last what has no room."""
    room = claim.get("room")
    return not _is_broken(claim), math.inf if room is None else room


def _is_broken(claim: dict) -> bool:
    return claim["binding"] and not claim["holds"]


def _link(page: str, cell: str) -> str:
    """The address of a cell on its lesson's page, whose anchors nbconvert names."""
    return f"{quote(page)}#cell-id={quote(cell)}"


def _verdict(found: list[dict]) -> str:
    """In words how the claims of a lesson stand."""
    count = f"{len(found)} claim{'s' * (len(found) != 1)}"
    broken, judged = sum(map(_is_broken, found)), sum(claim["binding"] for claim in found)
    if broken:
        return f"{count}, {broken} of which {'do' if broken > 1 else 'does'} not hold"
    if judged < len(found):
        return f"{count}, {judged} of which judged"
    return f"{count}, all hold"
