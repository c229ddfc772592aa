"""A made-up companion in all commands: work/, runs, copies, book, grade, key, progress, room."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.checks import exercises, lesson_texts, progress
from course_utils.checks.summary import summary
from course_utils.commands import book, cli, copies, grade, key, lab, lesson_page, room, room_page
from course_utils.lessons.lesson_03.exercises import EXERCISES
from course_utils.making import links, notebooks
from course_utils.notebook_files import lesson_key, lessons, read_notebook, write_notebook

NAME = "lora_gradients"  # here the companion's
STARTED = ["MODEL, SCALE, SEED = 'pocket', 'smoke', 0", "print('started')"]
HEADING = "### Exercise 1 of 1: both gradients, 12 min, difficulty 3 of 3\n\nBy hand."
STUB = f"def {NAME}(x, grad, A, B, scale):\n    ...\n\n\n{NAME} = check.{NAME}({NAME})"
LESSON = "# 03 LoRA\n\nWe believe it: [why](more/03_more.ipynb#Is-it-so?), [below](#The-idea).\n\n## The idea"
COMPANION = "# 03m More on LoRA\n\nOf [the idea](../03_lora.ipynb#The-idea)."
CACHED = (exercises.exercises_around, exercises.exercises_of, exercises.registry)
CACHED += (lesson_texts.exercise_texts, lesson_texts.questions, lesson_texts.titles)


def clear():
    for cached in CACHED:
        cached.cache_clear()


def written(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    codes = [cell for cell in cells if cell.cell_type == "code"]
    codes[0].metadata["tags"] = ["parameters"]
    for cell in cells:
        if cell.source == STUB:
            cell.metadata["tags"] = ["exercise", notebooks.NOT_COMPARED]
    write_notebook(notebooks.normal_form(new_notebook(cells=cells)), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with a lesson 03, its companion that has one of the exercises, and a lesson 04."""
    folder = tmp_path / "notebooks"
    written(folder / "03_lora.ipynb", new_markdown_cell(LESSON), *STARTED)
    proof, further = new_markdown_cell("## Is it so?"), new_markdown_cell(f"## Further\n\n{HEADING}")
    written(
        folder / "more" / "03_more.ipynb", new_markdown_cell(COMPANION), *STARTED, proof, "2", further, STUB
    )
    written(folder / "04_rank.ipynb", new_markdown_cell("# 04 Rank"), *STARTED)
    monkeypatch.setattr("course_utils.notebook_files.NOTEBOOKS", folder)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    moved = [replace(one, lesson="03m" if one.name == NAME else "03") for one in EXERCISES]
    monkeypatch.setattr("course_utils.lessons.lesson_03.exercises.EXERCISES", moved)
    clear()
    yield folder
    clear()
    progress.open_lesson("")


def test_a_companion_is_found_by_its_key_or_name_and_follows_its_lesson(course):
    assert [path.name for path in lessons()] == ["03_lora.ipynb", "04_rank.ipynb"]
    assert [lesson_key(path) for path in lessons(more=True)] == ["03", "03m", "04"]
    for name in ("3m", "03m", "03_more", "notebooks/more/03_more.ipynb"):
        assert lessons([name]) == [course / "more" / "03_more.ipynb"]
    assert [lesson_key(path) for path in lessons(["3"], more=True)] == ["03", "03m"]
    assert [lesson_key(path) for path in lessons(["03m"], more=True)] == ["03m"]
    with pytest.raises(ValueError, match=r"no lesson '4m'.*Choose from: 03_lora, 03_more, 04_rank"):
        lessons(["4m"])


def test_check_of_a_companion_has_its_exercises_and_progress_its_key(course):
    check = exercises.of_lesson("course_utils.lessons.lesson_03.more", "check")
    assert dir(check) == [NAME] and progress.open_lesson() == "03m"
    check.lora_gradients(lambda x, grad, A, B, scale: (A, B))
    assert progress.recorded()["03m"]["exercises"][NAME]["status"] == "failed"
    with pytest.raises(AttributeError, match="no exercise 'merge_lora'"):
        check.merge_lora(print)
    assert exercises.find("merge_lora").lesson == "03"  # either gives a hint
    assert NAME not in dir(exercises.of_lesson("course_utils.lessons.lesson_03", "check"))


def test_progress_counts_a_companion_apart(course, capsys):
    progress.record_attempt("03m", NAME, "a text", None)
    found = summary()
    assert [(found[key]["passed"], found[key]["of"]) for key in ("03", "03m")] == [
        (0, len(EXERCISES) - 1),
        (1, 1),
    ]
    assert cli.main(["progress"]) == 0
    assert "\n03m" in capsys.readouterr().out


def test_lab_copies_it_beside_the_lessons_and_reset_keeps_the_old_one(course, tmp_path):
    work = tmp_path / "work"
    lines = lab.copy_lessons(course, work)
    assert "work/more/03_more.ipynb: copied from notebooks/" in lines and len(lines) == 3
    copy = work / "more" / "03_more.ipynb"
    mine = read_notebook(copy)
    mine.cells[1].source = "mine = 1"
    write_notebook(mine, copy)
    assert lab.copy_lessons(course, work) == []
    lesson = read_notebook(course / "more" / "03_more.ipynb")
    lesson.cells[0].source += "\n\nMore."
    write_notebook(lesson, course / "more" / "03_more.ipynb")
    (line,) = lab.copy_lessons(course, work)
    assert line.startswith("work/more/03_more.ipynb is older") and line.endswith("reset 03m")
    fresh, kept = lab.reset("03m", course, work)
    assert fresh == copy and "More." in read_notebook(fresh).cells[0].source
    assert kept.parent == copy.parent and read_notebook(kept).cells[1].source == "mine = 1"
    assert [lesson_key(path) for path in lessons(folder=work, more=True)] == ["03", "03m", "04"]
    (work / "more").rename(work / "other")
    (work / "more").write_text("mine")
    with pytest.raises(FileExistsError, match=r"more is a file, not a folder\. Move it away"):
        lab.copy_lessons(course, work)


def test_copies_for_colab_stand_in_the_same_places(course, tmp_path, monkeypatch):
    colab = tmp_path / "colab"
    colab.mkdir()
    assert len(copies.write_copies(colab, "")) == 3 and copies.write_copies(colab, "") == []
    assert copies.FIRST_ID in (colab / "more" / "03_more.ipynb").read_text(encoding="utf-8")
    (course / "more" / "03_more.ipynb").unlink()
    assert copies.write_copies(colab, "") == [colab / "more" / "03_more.ipynb"]
    assert not (colab / "more" / "03_more.ipynb").exists()


def leads_nowhere(folder):
    """The links between notebooks of a folder whose target is missing."""
    return [
        target
        for path in folder.rglob("*.ipynb")
        for cell in read_notebook(path).cells
        for target in links.LINK.findall(cell.source if cell.cell_type == "markdown" else "")
        if re.fullmatch(r"(?!\w+:)\S+\.ipynb(#.*)?", target)
        and not (path.parent / target.partition("#")[0]).is_file()
    ]


@pytest.mark.parametrize("real", [True, False])
def test_links_lead_somewhere_in_the_copies(course, tmp_path, monkeypatch, real):
    if real:
        monkeypatch.setattr("course_utils.notebook_files.NOTEBOOKS", lab.NOTEBOOKS)
    lab.copy_lessons(lab.NOTEBOOKS if real else course, tmp_path / "work")
    (tmp_path / "colab").mkdir()
    copies.write_copies(tmp_path / "colab", "")
    assert leads_nowhere(tmp_path / "work") == leads_nowhere(tmp_path / "colab") == []
    (tmp_path / "work" / "more" / "03_more.ipynb").unlink(missing_ok=True)
    assert real or leads_nowhere(tmp_path / "work") == ["more/03_more.ipynb#Is-it-so?"]


def test_a_link_to_a_notebooks_heading_has_jupyterlabs_form(course, monkeypatch):
    monkeypatch.setattr(links, "ROOT", course.parent)
    texts = links.texts()
    assert links.internal_faults(texts) == []
    name = "notebooks/03_lora.ipynb"
    texts[name] = texts[name].replace("#Is-it-so?", "#is-it-so")
    assert links.internal_faults(texts) == [f"{name}: more/03_more.ipynb#is-it-so: no such heading"]


def test_on_a_runs_pages_the_links_lead_to_pages(course):
    pages = ["03_lora.html", "03_more.html"]
    html = lesson_page.cells_html(new_notebook(cells=[new_markdown_cell(LESSON)]), pages)
    assert 'href="03_more.html#Is-it-so?"' in html
    html = lesson_page.cells_html(new_notebook(cells=[new_markdown_cell(COMPANION)]), pages)
    assert 'href="03_lora.html#The-idea"' in html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["03m"], ["03_more"]),
        pytest.param(["--more"], ["03_lora", "03_more", "04_rank"], marks=pytest.mark.night),
        (["3"], ["03_lora"]),
    ],
)
def test_run_takes_a_key_and_with_more_the_companions(course, tmp_path, options, expected):
    out = tmp_path / "out"
    assert cli.main(["run", *options, "--model", "pocket", "--scale", "smoke", "--out", str(out)]) == 1 - (
        "03_more" not in expected
    )
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))["lessons"]
    assert [row["lesson"] for row in rows] == expected
    failed = {row["lesson"]: row["error"] for row in rows if row["status"] != "passed"}
    assert set(failed) <= {"03_more"} and all("check" in error for error in failed.values())


def test_the_key_has_a_companion_after_its_lesson(course):
    found = key.key([lesson_key(path) for path in lessons(more=True)])
    assert [(one["number"], one["title"]) for one in found] == [("03m", "More on LoRA")]
    (entry,) = found[0]["entries"]
    assert (entry["name"], entry["number"], entry["text"]) == (NAME, "Exercise 1 of 1", "By hand.")


def test_grade_knows_a_companion_by_name_or_by_key(course, tmp_path):
    handed = tmp_path / "class"
    for place in ("Ada/03_lora.ipynb", "Ada/more/03_more.ipynb", "ben_03_more.ipynb", "3m Chen.ipynb"):
        written(handed / place, new_markdown_cell("# x"), "x = 1")
    rows = grade.grade([handed])
    assert {(row["learner"], row["lesson"], row["exercise"]) for row in rows} == {
        (learner, "03m", NAME) for learner in ("Ada", "ben", "Chen")
    }
    assert {row["learner"] for row in grade.grade([handed / "Ada"])} == {"Ada"}
    assert grade._lesson(Path("3mary.ipynb"), []) == grade._lesson(Path("3 mary.ipynb"), []) == "03"


@pytest.mark.slow
def test_an_exercise_of_a_companion_is_judged(course, tmp_path):
    answer = exercises.registry()[NAME].solution
    copy = written(
        tmp_path / "03_more.ipynb",
        new_markdown_cell("# x"),
        "x = 1",
        f"{answer}\n\n{NAME} = check.{NAME}({NAME})",
    )
    assert [(row["exercise"], row["status"]) for row in grade.grade([copy])] == [(NAME, "passed")]


def test_the_room_names_exercise_and_companion(course, tmp_path):
    time = datetime.now(UTC)
    entry = {"status": "failed", "attempts": 1, "first": time.isoformat(), "mistake": "No."}
    where = room_page.whereabouts({"03m": {"exercises": {NAME: entry}}}, time)
    assert (where["lesson"], where["at"], where["of"]) == ("03m", "1 of 1: both gradients", 1)
    page = room_page.room_page({"Ada": {"03m": {"exercises": {NAME: entry}}}}, time, False, [], "")
    assert "03m More on LoRA" in page
    for place in ("Ada/more/03_more.ipynb", "Ben/work/more/03_more.ipynb"):
        written(tmp_path / "class" / place, new_markdown_cell("# x"), "x = 1")
    found = room.Room([tmp_path / "class"]).notebooks()
    assert [room._name(path, folder) for path, folder in found] == ["Ada", "Ben"]


@pytest.fixture
def small_book(course, tmp_path, monkeypatch):
    """The sources of a book with these lessons alone."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# The course\n", encoding="utf-8")
    monkeypatch.setattr(book, "ROOT", tmp_path)
    out = book.take_folder(tmp_path / "book")
    book.write_sources(out / "source", "")
    return out


def test_in_the_book_it_is_the_second_page_of_its_lesson(small_book):
    source = small_book / "source"
    index = (source / "index.md").read_text(encoding="utf-8")
    assert "more" not in index and "in 2 lessons" in index
    last = read_notebook(source / "notebooks" / "03_lora.ipynb").cells[-1].source
    assert last == "```{toctree}\n:hidden:\n\nmore/03_more\n```"
    first = read_notebook(source / "notebooks" / "03_lora.ipynb").cells[0].source
    assert "(more/03_more.ipynb#is-it-so)" in first and "(#the-idea)" in first


@pytest.mark.slow
def test_its_pages_in_the_book_lead_to_each_other(small_book):
    pytest.importorskip("sphinx_book_theme")
    html = book.build("html", small_book, "https://github.com/somebody/course") / "notebooks"
    lesson = (html / "03_lora.html").read_text(encoding="utf-8")
    companion = (html / "more" / "03_more.html").read_text(encoding="utf-8")
    assert 'href="more/03_more.html#is-it-so"' in lesson and 'id="is-it-so"' in companion
    assert 'href="../03_lora.html#the-idea"' in companion and 'id="the-idea"' in lesson
    assert re.search(r'<a class="right-next"\s+href="more/03_more.html"', lesson)
    assert "/blob/main/colab/more/03_more.ipynb" in companion and "work%2Fmore%2F03_more.ipynb" in companion
    assert (html.parent / "_sources" / "notebooks" / "more" / "03_more.ipynb").is_file()


@pytest.mark.slow
def test_make_notebooks_executes_it(course, capsys):
    path = course / "more" / "03_more.ipynb"
    write_notebook(read_notebook(course / "04_rank.ipynb"), path)
    assert notebooks.main(["03m"]) == 1 and "no link leads back to lesson 03" in capsys.readouterr().out
    assert read_notebook(path).cells[2].outputs[0].text == "started\n"
