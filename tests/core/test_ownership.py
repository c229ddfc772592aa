"""The course never replaces or deletes others' files, and always its own, also after a kill."""

import ast
import json
import os
import socket

import pytest

from course_utils import ownership
from course_utils.commands.grade_page import grade_page
from course_utils.home import ROOT, naming, write_page, write_whole
from course_utils.ownership import (
    DAY,
    MARK,
    MARK_FILE,
    emptied,
    lock_at,
    mark,
    new_folder,
    own_file,
    own_folder,
    own_page,
    remove,
)
from course_utils.templates import templates

TODO = "Name another"


def page(tmp_path, text):
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    return tmp_path / "page.html"


def test_pages_of_the_course_are_known_by_their_head_or_place(tmp_path, monkeypatch):
    slide = {"title": "a", "text": "", "figures": [], "claims": []}
    slides = templates.get_template("slides.html").render(slides=[slide], markdown=str)
    for text in (grade_page([]), slides):
        assert own_file(page(tmp_path, text), TODO) == tmp_path / "page.html"
        earlier = text.replace(MARK.decode(), "")
        with pytest.raises(FileExistsError, match="did not write"):
            own_file(page(tmp_path, earlier), TODO)
        with monkeypatch.context() as patch:
            patch.setattr(ownership, "BUILD", tmp_path)
            assert own_file(page(tmp_path, earlier), TODO)
            with pytest.raises(FileExistsError, match="did not write"):
                own_file(page(tmp_path, "my notes"), TODO)


@pytest.mark.parametrize(
    "text",
    [
        "<!doctype html>mine",
        "finetuning-course",
        "x" * 5000 + MARK.decode(),
        f"My notes: a page of the course has {MARK.decode()}",
        f"<!doctype html><html><head></head><body>{MARK.decode()}",
        f"<!doctype html>\n<html><head><meta charset='utf-8'>\n<!-- {MARK.decode()} --></head>",
        f"<!doctype html>\n<html><head><script>x = '{MARK.decode()}'</script></head>",
        'x{\n "generator": "finetuning-course",\n',
        '{"generators": "finetuning-course", "mine": 1}',
        '{"mine": {"generator": "finetuning-course", "b": 1}}',
    ],
)
def test_another_file_is_replaced_only_where_one_asks_for_it(tmp_path, text):
    with pytest.raises(
        FileExistsError,
        match=r"page.html is a file that this course did not write\. Name another, or add --o",
    ):
        own_file(page(tmp_path, text), TODO)
    with pytest.raises(FileExistsError, match=r"did not write\. Name another\.$"):
        own_file(page(tmp_path, text), TODO, None)
    assert own_file(page(tmp_path, text), TODO, overwrite=True) == tmp_path / "page.html"
    assert own_file(page(tmp_path, ""), TODO) and own_file(tmp_path / "new" / "page.html", TODO)


def others(tmp_path):
    """{kind: path} of entries that are not regular files."""
    (tmp_path / "folder").mkdir()
    found = {"a folder": tmp_path / "folder"}
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("/dev/full")
        found |= {"a pipe": tmp_path / "pipe", "a device": tmp_path / "link"}
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(tmp_path / "socket"))
        found["a socket"] = tmp_path / "socket"
    return found


def test_what_is_no_regular_file_is_refused_by_every_writer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    for kind, path in others(tmp_path).items():
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=rf"{path.name} is {kind}\."):
                own_file(path, TODO, overwrite)
        before = os.lstat(path)
        with pytest.raises(FileExistsError, match=kind):
            write_whole(path, "text")
        assert os.lstat(path) == before
        if kind != "a folder":
            with pytest.raises(FileExistsError, match=kind):
                own_folder(path, "book", TODO)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "page")
    write_whole(tmp_path / "link", "one")  # its target does not exist yet
    write_whole(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "page").read_text() == "two"
    with pytest.raises(FileExistsError, match="link is a file that this course did not write"):
        own_file(tmp_path / "link", TODO)
    (tmp_path / "folder").symlink_to(tmp_path / "disk")
    with pytest.raises(FileExistsError, match="folder is a folder that book did not make, and not empty"):
        emptied(tmp_path / "folder", "book")
    assert (tmp_path / "disk" / "page").exists()


def test_the_home_folder_and_places_below_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert own_file("~/page.html", TODO) == own_file(tmp_path / "page.html", TODO)
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "page", tmp_path / "file" / "a" / "page"):
        with pytest.raises(FileExistsError, match="file is a file, not a folder"):
            own_file(path, TODO)


def test_a_folder_is_the_courses_if_it_is_empty_or_marked(tmp_path):
    folder = tmp_path / "folder"
    assert own_folder(folder, "book", TODO) == folder
    folder.mkdir()
    (emptied(folder, "book") / "page").write_text("ours")
    with pytest.raises(FileExistsError, match="that run did not make"):
        emptied(folder, "run")  # no command takes another's folder
    assert {path.name for path in emptied(folder, "book").iterdir()} == {MARK_FILE}
    remove(folder)
    folder.mkdir()
    (folder / "thesis").write_text("mine")
    for call in (own_folder, lambda *_: emptied(folder, "book"), lambda *_: remove(folder)):
        with pytest.raises(FileExistsError, match=r"folder that .* did not make, and not empty"):
            call(folder, "book", TODO)
    assert (folder / "thesis").read_text() == "mine"
    assert own_folder(folder, "book", TODO, lambda place: (place / "thesis").exists()) == folder


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_a_pipe_in_the_place_of_a_mark_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / MARK_FILE)
    assert ownership.made_names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_what_a_link_inside_leads_to_is_not_deleted(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("mine")
    (emptied(tmp_path / "folder", "book") / "link").symlink_to(tmp_path / "mine")
    remove(tmp_path / "folder")
    assert (tmp_path / "mine" / "thesis").exists() and not (tmp_path / "folder").exists()


def test_leftovers_go_and_what_only_looks_like_them_stays(tmp_path):
    left = [tmp_path / f".{name}.abcd_123.course-part" for name in ("other", "folder.b", "folder", "file")]
    for path in left[:3]:
        path.mkdir()
        (path / "thesis").write_text("mine")
        mark(path, "export")
    left[3].write_text("half")
    stays = [tmp_path / name for name in (".folder.12345678.course-part", "folder.part", "a.course-part")]
    for path in stays:
        path.mkdir()
        (path / "thesis").write_text("mine")
    stays.append(tmp_path / ".chapter.html.course-part")
    stays[-1].write_text("mine")
    with new_folder(tmp_path / "folder", "export") as part:
        (part / "file").write_text("whole")
    assert [path.exists() for path in left] == [True, True, False, True]  # others' may be in use
    for path in [*left, *stays]:
        if path.exists():
            os.utime(path, (0, os.stat(path).st_mtime - DAY - 1))
    write_whole(tmp_path / "any", "text")
    assert {path.name for path in tmp_path.iterdir()} == {"any", "folder", *(path.name for path in stays)}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "folder", "export") as part:
        (part / "file").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_names_as_long_as_they_may_be(tmp_path):
    name = "é" * 127
    write_whole(tmp_path / name, "text")
    with new_folder(tmp_path / f"{name[:-1]}a", "export"):
        assert len(list(tmp_path.iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name[:-1]}a"}
    with ownership.lock_of(tmp_path / name, TODO):
        pass
    with pytest.raises(FileExistsError, match=r"cannot be used \(File name too long\)"):
        ownership.regular(tmp_path / f"{name}éé")


def test_a_lock_is_an_empty_file(tmp_path):
    with ownership.lock_of(tmp_path / "a", TODO), ownership.lock_of(tmp_path / "a", TODO):
        pass
    (tmp_path / ".b.lock").write_text("mine")
    with pytest.raises(FileExistsError, match=r"\.b\.lock is not a lock of the course\. Name another"):
        ownership.lock_of(tmp_path / "b", TODO)


WRITE = {
    *(
        "write_whole",
        "write_page",
        "written_aside",
        "write_text",
        "write_bytes",
        "write_notebook",
        "save_pretrained",
    ),
    *("save_file", "copytree", "mkdir", "touch", "rename", "unlink", "rmtree", "mkdtemp", "mkstemp"),
    *(
        "TemporaryDirectory",
        "FileLock",
        "lock_of",
        "lock_at",
        "new_folder",
        "emptied",
        "mark",
        "remove_leftovers",
    ),
}


def writes(source: str) -> bool:
    """Whether code makes, renames or deletes files, or opens one for writing."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            values = [value.value for value in node.args if isinstance(value, ast.Constant)]
            modes = [value for value in values if isinstance(value, str) and len(value) < 4]
            opened = name == "open" and any(set("wax+") & set(mode) for mode in modes)
            if name in WRITE or opened:
                return True
    return False


def test_every_module_that_writes_has_its_place_in_the_guide_to_security():
    """Makers' modules (course_utils.making) write into their own checkout."""
    package, found = ROOT / "course_utils", set()
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if not name.startswith("making.") and writes(path.read_text(encoding="utf-8")):
            found.add(name)
    assert found == {name for names in ownership.WRITTEN.values() for name in names}
    table = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("| Place |")[2]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert rows[: len(ownership.WRITTEN)] == list(ownership.WRITTEN) and rows[len(ownership.WRITTEN)] == ""


def test_a_full_disk_is_named_whoever_says_it(tmp_path):
    for fault in (OSError(28, "No space left on device"), RuntimeError("I/O error: No space left on device")):
        with pytest.raises(OSError, match=r"folder cannot be used \(.*No space left on device\)\. Free some"):
            with naming(tmp_path / "folder", "Free some"):
                raise fault
    with pytest.raises(RuntimeError, match=r"^other$"), naming(tmp_path, "Free some"):
        raise RuntimeError("other")


@pytest.mark.parametrize("name", [".finetuning-course", ".finetuning-course.course-part"])
def test_a_mark_is_not_written_through_a_link_and_takes_no_file_of_others(tmp_path, name):
    thesis, folder = tmp_path / "thesis.txt", tmp_path / "folder"
    thesis.write_text("mine")
    folder.mkdir()
    (folder / name).symlink_to(thesis)
    with pytest.raises(FileExistsError):
        ownership.own_folder(folder, "run", "Name another")
    with pytest.raises(FileExistsError, match="is not a mark of the course"):
        ownership.mark(folder, "run")
    (folder / name).unlink()
    (folder / name).write_text("notes of mine")
    with pytest.raises(FileExistsError, match="is not a mark of the course"):
        ownership.mark(folder, "run")
    assert (thesis.read_text(), (folder / name).read_text()) == ("mine", "notes of mine")
    (folder / name).write_text("Made")  # half of a mark, left by a kill
    ownership.mark(folder, "run")
    assert ownership.is_marked(folder, "run")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_to_another_folders_mark_is_no_mark(tmp_path):
    mark(tmp_path / "ours", "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("mine")
    (tmp_path / "mine" / MARK_FILE).symlink_to(tmp_path / "ours" / MARK_FILE)
    assert not ownership.is_marked(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="mine is a folder that run did not make"):
        own_folder(tmp_path / "mine", "run", TODO)


@pytest.mark.parametrize("name", [".finetuning-course-home", ".finetuning-course.bak"])
def test_a_name_that_begins_like_the_mark_is_not_the_course_s(tmp_path, name):
    (tmp_path / "folder" / name).mkdir(parents=True)
    with pytest.raises(FileExistsError, match="did not make, and not empty"):
        ownership.own_folder(tmp_path / "folder", "lesson 17", "Name another")


@pytest.mark.parametrize(
    "text",
    [
        f"<!doctype html><body>{ownership.MARK.decode()}</head>",
        f"<!doctype html><body>{ownership.MARK.decode()}",
    ],
)
def test_what_only_looks_like_a_result_is_not_replaced(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(FileExistsError, match="did not write"):
        ownership.own_file(tmp_path / "file", "Name another")


def test_a_json_file_of_the_course_is_known_by_its_first_entry(tmp_path):
    for indent in (None, 1):
        (tmp_path / "file").write_text(json.dumps(ownership.JSON_MARK | {"rows": []}, indent=indent))
        assert own_file(tmp_path / "file", TODO)


@pytest.mark.skipif(os.name != "posix", reason="names have no line ends elsewhere")
def test_a_line_end_in_a_name_is_shown_as_one(tmp_path):
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(FileExistsError, match=r"a\\nb is a folder"):
        own_file(tmp_path / "a\nb", TODO)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_to_itself_is_told(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileExistsError, match=r"loop (cannot be followed|is not a regular file)"):
        own_file(tmp_path / "loop", TODO)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on Unix")
def test_a_name_that_is_no_utf_8_is_written(tmp_path):
    place = tmp_path / os.fsdecode(b"x\xff.html")
    write_whole(place, "page")
    assert place.read_text() == "page"


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_no_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match=r"pipe is a pipe\. Name a file"):
        ownership.read_regular(tmp_path / "pipe")


def test_a_page_that_only_its_owner_may_read_stays_so(tmp_path):
    write_whole(tmp_path / "page.html", "old")
    (tmp_path / "page.html").chmod(0o600)
    write_whole(tmp_path / "page.html", "new")
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == (0o600 if os.name == "posix" else 0o666)


def test_a_page_that_came_while_another_was_made_is_kept(tmp_path):
    place = own_page(tmp_path / "key.html", TODO, False)
    place.write_text("notes")
    with pytest.raises(FileExistsError, match=r"did not write\. Name another"):
        write_page(place, "<!doctype html>", TODO, False)
    assert place.read_text() == "notes" and list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("command", ["grade", "key", "playground", "room", "sheets", "slides"])
def test_the_commands_look_again_before_they_write(command):
    text = (ROOT / f"course_utils/commands/{command}.py").read_text(encoding="utf-8")
    assert "write_page(" in text and "write_whole(" not in text


def test_a_folder_that_came_meanwhile_is_named(tmp_path):
    place = tmp_path / "out"
    with pytest.raises(FileExistsError, match=r"out is a folder now, and was not there at the beginning"):
        with naming(tmp_path, TODO), new_folder(place, "export"):
            place.mkdir()
            (place / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("notes")])
def test_a_lock_is_an_empty_file_or_refused(tmp_path, make):
    make(tmp_path / "progress.lock")
    with pytest.raises(FileExistsError, match=r"progress.lock is not a lock of the course. Move it away"):
        lock_at(tmp_path / "progress.lock", "Move it away")
