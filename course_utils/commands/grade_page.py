"""The page of `grade` for a teacher: a table per lesson, a row per notebook, a column per exercise."""

from __future__ import annotations

from course_utils.templates import templates


def grade_page(rows: list[dict[str, str]]) -> str:
    """A self-contained HTML page; rows as returned by `grade`."""
    judged = [row for row in rows if row["exercise"]]
    lessons: dict[str, dict] = {}
    for row in sorted(judged, key=lambda row: row["lesson"]):
        table = lessons.setdefault(row["lesson"], {"names": [], "notebooks": {}})
        if row["exercise"] not in table["names"]:
            table["names"].append(row["exercise"])
        table["notebooks"].setdefault((row["learner"], row["file"]), {})[row["exercise"]] = row
    return templates.get_template("grade.html").render(
        lessons=lessons,
        others=[row for row in rows if not row["exercise"]],
        passed=sum(row["status"] == "passed" for row in judged),
        count=len(judged),
    )
