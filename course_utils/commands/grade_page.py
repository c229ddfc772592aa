"""The page of `grade` for a teacher: a table per lesson, a row per notebook, a column per exercise."""

from __future__ import annotations

from course_utils.templates import templates


def grade_page(rows: list[dict[str, str]]) -> str:
    """A self-contained HTML page; rows as returned by `grade`."""
    judged = [row for row in rows if row["exercise"]]
    lessons: dict[str, dict] = {}
    learners: dict[str, dict[str, list[int]]] = {row["learner"]: {} for row in rows if not row["file"]}
    for row in sorted(judged, key=lambda row: row["lesson"]):
        table = lessons.setdefault(row["lesson"], {"names": [], "notebooks": {}})
        if row["exercise"] not in table["names"]:
            table["names"].append(row["exercise"])
        table["notebooks"].setdefault((row["learner"], row["file"]), {})[row["exercise"]] = row
        done = learners.setdefault(row["learner"], {}).setdefault(row["lesson"], [0, 0])
        done[0] += row["status"] == "passed"
        done[1] += 1
    return templates.get_template("grade.html").render(
        lessons=lessons,
        learners=dict(sorted(learners.items())),
        others=[row for row in rows if row["file"] and not row["exercise"]],
    )
