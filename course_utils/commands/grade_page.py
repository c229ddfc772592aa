"""The page of `grade` for a teacher: a table a lesson, a row a notebook, a column an exercise."""

from __future__ import annotations

from jinja2 import Environment

GRADE_TEMPLATE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Exercises: {{ passed }} of {{ count }} passed</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 80rem; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere }
summary { cursor: pointer }
.file, .none { color: #666 } .file { font-size: .8rem; font-weight: normal }
.passed { color: #00609c } .mistake, .stopped { color: #b03000; font-weight: 600 }
details p { color: #222; font-weight: normal; margin: .2rem 0 }
@media (max-width: 45rem) {
  thead { display: none } tr { display: block; padding: .7rem 0; border-bottom: 2px solid #999 }
  th, td { display: block; border: 0; padding: .1rem 0 }
  td::before { content: attr(data-name) ": "; color: #222; font-weight: normal }
  td details { display: inline-block; vertical-align: top }
}
</style></head><body>
<h1>{{ passed }} of {{ count }} exercises passed</h1>
<p>Each exercise was run alone, with the course's solutions of the others. Open a verdict for its message.</p>
{% for lesson, table in lessons.items() %}
<h2>Lesson {{ lesson }}</h2>
<table><thead><tr><th>Learner</th>{% for name in table.names %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for (learner, file), verdicts in table.notebooks.items() %}
<tr><th>{{ learner }}<div class="file">{{ file }}</div></th>
{% for name in table.names %}{% set row = verdicts[name] %}
<td data-name="{{ name }}" class="{{ row.status if row.status != "not attempted" else "none" }}">
{% if row.message %}<details title="{{ row.message }}"><summary>{{ row.status }}</summary>
<p>{{ row.message }}</p></details>{% else %}{{ row.status }}{% endif %}</td>{% endfor %}</tr>{% endfor %}
</tbody></table>
{% endfor %}
{% if others %}
<h2>Files that are no lesson</h2>
<ul>{% for row in others %}
<li>{{ row.learner }}: {{ row.message }} <span class="file">{{ row.file }}</span></li>{% endfor %}</ul>
{% endif %}
</body></html>
"""


def grade_page(rows: list[dict[str, str]]) -> str:
    """One HTML page that needs nothing else; rows as `grade` makes them."""
    judged = [row for row in rows if row["exercise"]]
    lessons: dict[str, dict] = {}
    for row in sorted(judged, key=lambda row: row["lesson"]):
        table = lessons.setdefault(row["lesson"], {"names": [], "notebooks": {}})
        if row["exercise"] not in table["names"]:
            table["names"].append(row["exercise"])
        table["notebooks"].setdefault((row["learner"], row["file"]), {})[row["exercise"]] = row
    return (
        Environment(autoescape=True)
        .from_string(GRADE_TEMPLATE)
        .render(
            lessons=lessons,
            others=[row for row in rows if not row["exercise"]],
            passed=sum(row["status"] == "passed" for row in judged),
            count=len(judged),
        )
    )
