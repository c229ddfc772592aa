"""The released files: a wheel, made from the sdist, whose course opens and runs where no repository is."""

import os
import re
import subprocess
import sys
import time
import urllib.request
import zipfile

import pytest

from course_utils.home import ROOT

pytestmark = pytest.mark.night


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git would commit, in a folder of its own."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source]
    subprocess.run(command, check=True, capture_output=True)
    [sdist], [found] = out.glob("*.tar.gz"), out.glob("*.whl")
    assert sdist.stat().st_size < 90 << 20 and found.stat().st_size < 90 << 20  # PyPI takes 100 MB
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """(environment, folder): the wheel before everything else on Python's path; nobody may write into it."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True)
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, "PYTHONPATH": str(target), "COURSE_HOME": str(home)}, target


def ask(installed, place, *words):
    command = [sys.executable, "-m", "course_utils", *words]
    return subprocess.run(command, cwd=place, env=installed[0], capture_output=True, text=True)


def test_it_holds_the_course_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    course = {name.removeprefix("course_utils/course/") for name in names if "/course/" in name}
    lessons = {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert lessons <= course and {"TUTOR.md", "docs/plans.md", "recipes/qlora.py"} <= course
    assert not any(name.startswith(("tests/", "course_utils/course/work")) for name in names)


def test_a_lesson_runs_and_the_doctor_finds_nothing(installed, tmp_path):
    ran = ask(installed, tmp_path, "run", "00", "--scale", "smoke")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list((tmp_path / "finetuning-course" / "runs").glob("*/index.html"))
    examined = ask(installed, tmp_path, "doctor")
    assert examined.returncode == 0 and "FAIL" not in examined.stdout, examined.stdout
    refused = ask(installed, tmp_path, "test")
    assert refused.returncode == 1 and "`test` is for a clone of the course's repository" in refused.stderr


def test_the_lab_opens_at_copies_in_a_folder_of_ones_own(installed, tmp_path):
    environment, target = installed
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.suffix != ".pyc"}
    command = [sys.executable, "-m", "course_utils", "lab", "--no-browser", "--port=0"]
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        found = (re.search(r"http://127\S+token=\w+", line) for line in server.stderr)
        address = next(filter(None, found))[0]
        assert "/lab/tree/work/00_start_here.ipynb" in address
        time.sleep(20)  # the address is printed before the server listens
        page = urllib.request.urlopen(address.replace("/lab/tree/", "/api/contents/"), timeout=60).read()
        assert b"Start here" in page
    finally:
        server.terminate()
        server.wait()
    assert (tmp_path / "finetuning-course" / "work" / "more" / "03_more.ipynb").is_file()
    kept = {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.suffix != ".pyc"}
    changed = {path for path in before.keys() | kept.keys() if before.get(path) != kept.get(path)}
    assert {path for path in changed if path.name != "__pycache__" and not path.is_dir()} == set()
