"""The book's sources: the whole checkout in place, claims with links, no dead links."""

import os
import re
from html import escape
from xml.etree import ElementTree

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils import ownership
from course_utils.commands import book, cli
from course_utils.home import ROOT
from course_utils.notebook_files import lessons, place_in, read_notebook

ADDRESS = "https://example.org/somebody/course"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book") / "source"
    book.write_sources(folder, "")
    return folder


def claimed(text, **values):
    record = {"text": text, "shown": "4%", "bound": "at most 9%", "outcome": "holds", "headline": False}
    record |= {"stored": False, "margin": 0.5, "binding": True, "holds": True, **values}
    return new_output("display_data", {"text/plain": text}, metadata={"course": {"claims": [record]}})


def test_every_lesson_and_guide_is_there_and_in_the_contents(sources):
    index = (sources / "index.md").read_text("utf-8")
    for path in lessons():
        assert f"notebooks/{path.stem}\n" in index
    for path in lessons(more=True):
        assert place_in(sources / "notebooks", path).exists()
    for path in (ROOT / "docs").glob("*.md"):
        assert (sources / "docs" / path.name).exists() and f"docs/{path.stem}\n" in index
    assert index.count("```") % 2 == 0


def test_every_claim_of_the_saved_lessons_is_on_the_page_of_claims_with_a_link(sources):
    from course_utils.checks import claims

    page = (sources / "claims.md").read_text("utf-8")
    count = sum(len(claims.read(read_notebook(path))) for path in lessons(more=True))
    links = re.findall(r"\]\(#(lesson-\d\dm?-[\w-]+)\) \|", page)
    assert len(links) == count > 50
    anchors = {
        name
        for path in (sources / "notebooks").rglob("*.ipynb")
        for cell in read_notebook(path).cells
        for name in re.findall(r"^\(([\w-]+)\)=$", cell.source)
    }
    assert set(links) == anchors


def test_the_front_page_has_one_picture_with_words(sources):
    index = (sources / "index.md").read_text("utf-8")
    ((alt, file),) = re.findall(r"!\[(.*?)\]\((\S+?)\)", index)
    assert len(alt) > 40 and (sources / file).read_bytes()[:4] == b"\x89PNG"


def test_links_out_of_the_book_are_text_or_lead_to_the_repository():
    text = "[a](../LICENSE) [b](workshop.md#plans) [c](https://example.org) [d](#here) ![e](images/x.png)"
    kept = {"docs/workshop.md"}
    assert book.with_links_outside(text, "docs/a.md", kept, "") == text.replace("[a](../LICENSE)", "a")
    linked = book.with_links_outside(text, "docs/a.md", kept, ADDRESS)
    assert linked == text.replace("../LICENSE", f"{ADDRESS}/blob/main/LICENSE")


def test_claims_are_shown_as_they_were_written(tmp_path):
    words = "A_b *c* | d $e$ <f> `g` [h](i) & \\"
    cell = new_code_cell("1", outputs=[claimed(words, headline=True)], id="cell-001")
    notebook = new_notebook(cells=[new_markdown_cell("# Title", id="cell-000"), cell])
    row = book.chapter(ROOT / "notebooks" / "07_x.ipynb", notebook)
    page = book.templates.get_template("book_claims.md").render(chapters=[row])
    MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt
    html = MarkdownIt("commonmark").enable("table").render(page)
    assert f'<a href="#lesson-07-cell-001"><strong>{escape(words)}</strong></a>' in html
    assert html.count("<td") == 4


def test_a_chapter_has_anchors_folds_and_no_names_of_objects():
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("a", outputs=[claimed("Yes")], id="cell-001"),
        new_code_cell("# the figure\nb", metadata={"jupyter": {"source_hidden": True}}),
        new_code_cell("c", outputs=[new_output("execute_result", {"text/plain": "<matplotlib.X at 0x1>"})]),
    ]
    made = book.as_chapter(new_notebook(cells=cells), ROOT / "07_x.ipynb")
    assert made.cells[1].source == "(lesson-07-cell-001)=" and made.cells[2].source == "a"
    assert made.cells[3].metadata["tags"] == ["hide-input"]
    assert made.cells[3].metadata["mystnb"]["code_prompt_show"] == "Code: the figure"
    assert made.cells[4].outputs == []


def test_html_becomes_xml_and_says_the_same():
    html = '<p hidden>a&nbsp;&lt;b<br><img alt="1 &lt; &quot;2&quot;" src="x"></p><style>a > b {c: d}</style>'
    xml = book.as_xhtml(html)
    assert xml == (
        '<p hidden="">a\N{NO-BREAK SPACE}&lt;b<br /><img alt="1 &lt; &quot;2&quot;" src="x" /></p>'
        "<style>a > b {c: d}</style>"
    )
    assert book.as_xhtml(xml) == xml


def test_every_saved_output_is_xml_in_the_book(sources):
    for path in (sources / "notebooks").rglob("*.ipynb"):
        for cell in read_notebook(path).cells:
            for output in cell.get("outputs", []):
                if html := output.get("data", {}).get("text/html"):
                    ElementTree.fromstring(f"<div>{html}</div>")


def test_a_folder_of_somebody_else_is_refused_before_any_work(tmp_path, capsys):
    for name in ("source", "html"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("mine")
    assert cli.main(["book", "--key", "--out", str(tmp_path)]) == 1
    assert (
        "a folder that book did not make, and not empty. Name a new folder: --out" in capsys.readouterr().err
    )
    assert len(list(tmp_path.rglob("thesis.tex"))) == 2
    assert not list(tmp_path.rglob(".finetuning-course*"))


def test_a_part_that_stays_empty_is_guarded_as_well(tmp_path):
    with book.new_book(tmp_path / "book"):
        pass
    (tmp_path / "book" / "epub" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"mine\.txt is not the course's"):
        book.take_folder(tmp_path / "book")


@pytest.mark.parametrize("part", ["source", "doctrees", "html", "epub"])
def test_what_somebody_put_into_a_finished_book_is_not_deleted(tmp_path, part):
    folder = tmp_path / "book" / part
    with book.new_book(tmp_path / "book") as made:
        (made / part / "docs").mkdir()
        (made / part / "docs" / "page.html").write_text("ours")
    for name in ("CNAME", "docs/notes.txt"):
        (folder / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{name} is not the course's. Move it away"):
            book.take_folder(tmp_path / "book")
        assert (folder / name).read_text() == "mine" and (folder / "docs" / "page.html").exists()
        (folder / name).unlink()
    with book.new_book(tmp_path / "book") as made:
        assert (folder / "docs").exists(), "the old book stays until the new one is whole"
        (made / part / "new").write_text("ours")
    assert not (folder / "docs").exists() and (folder / "new").exists()
    assert {path.name for path in folder.parent.iterdir()} == {
        ownership.MARK_FILE,
        ownership.LOCK,
        *book.FOLDERS,
    }
    ownership.mark(folder, "book")  # as a book that was stopped left it in an earlier edition
    with pytest.raises(FileExistsError, match="of a book that was stopped, and may hold files of yours"):
        book.take_folder(tmp_path / "book")


def test_a_book_that_fails_leaves_the_old_one(tmp_path):
    with book.new_book(tmp_path / "book") as made:
        (made / "html" / "index.html").write_text("old")
    with pytest.raises(SystemExit), book.new_book(tmp_path / "book") as made:
        (made / "html" / "index.html").write_text("half")
        raise SystemExit
    assert (tmp_path / "book" / "html" / "index.html").read_text() == "old"
    assert {path.name for path in (tmp_path / "book").iterdir()} == {
        ownership.MARK_FILE,
        ownership.LOCK,
        *book.FOLDERS,
    }


def test_of_two_books_in_one_folder_the_second_is_refused_and_the_first_goes_on(tmp_path):
    with book.new_book(tmp_path / "book") as made:
        (made / "html" / "index.html").write_text("the first's")
        with pytest.raises(FileExistsError, match=r"another process writes there\. Name a new folder"):
            with book.new_book(tmp_path / "book"):
                pass
    assert (tmp_path / "book" / "html" / "index.html").read_text() == "the first's"


def test_what_only_looks_like_a_book_is_refused(tmp_path):
    (tmp_path / "book" / "source").mkdir(parents=True)
    (tmp_path / "book" / "source" / "claims.md").write_text("mine")
    with pytest.raises(FileExistsError, match="book is a folder that book did not make"):
        book.take_folder(tmp_path / "book")
    (tmp_path / "new").mkdir()
    ownership.mark(tmp_path / "new", "book")
    (tmp_path / "new" / "course.pdf").write_text("mine")
    with pytest.raises(FileExistsError, match=r"course\.pdf is not the course's"):
        book.check_pdf(book.take_folder(tmp_path / "new"))
    ownership.mark(tmp_path / "new", "book", [book.PDF])
    for _ in range(2):
        book.check_pdf(book.take_folder(tmp_path / "new"))


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_part_that_leads_to_somebody_elses_folder_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    out = tmp_path / "book"
    with book.new_book(out):
        pass
    (out / "html" / ".finetuning-course").unlink()
    (out / "html").rmdir()
    (out / "html").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="html is a folder that book did not make"):
        book.take_folder(tmp_path / "book")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"
