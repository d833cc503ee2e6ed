"""The files around the course agree with one another, and the notebooks are as readers are promised."""

import ast
import base64
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from quick import QUICK

import inception_lab
import notebooks

ROOT = Path(__file__).parents[2]
NOTEBOOKS = notebooks.course()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def package(requirement):
    """The name of the package that a requirement asks for, as pip compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def direct_dependencies():
    extras = PROJECT["optional-dependencies"].values()
    return {package(r) for r in [*PROJECT["dependencies"], *(r for extra in extras for r in extra)]}


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def repository_files():
    """The files that git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


# --- installation -------------------------------------------------------------------------------------------


def test_environment_leaves_versions_to_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert sorted(map(package, conda)) == ["pip", "python"]
    assert pip == ["-c constraints.txt", "-e ."]
    assert environment["name"] == PROJECT["name"]


def test_environment_allows_the_python_versions_of_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    tested = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    oldest, newest = tested[0], int(tested[-1].removeprefix("3."))
    assert PROJECT["requires-python"] == f">={oldest}"
    assert f"python>={oldest},<3.{newest + 1}" in environment["dependencies"]


def test_constraints_hold_one_exact_version_of_every_direct_dependency():
    pinned = [package(line) for line in constraints()]
    assert len(pinned) == len(set(pinned))
    assert direct_dependencies() <= set(pinned)


def test_constraints_name_versions_only():
    for line in constraints():
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
        assert not re.match(r"nvidia-|cuda-|triton=|inception", line), line


def test_constraints_can_be_installed_by_the_oldest_python_that_the_readme_promises():
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    checked = 0
    for line in constraints():
        name, version = line.split("==")
        with suppress(metadata.PackageNotFoundError):
            if metadata.version(name) == version:
                needs = metadata.metadata(name).get("Requires-Python", "")
                assert SpecifierSet(needs).contains(oldest), f"{line} needs Python {needs}"
                checked += 1
    assert checked > 50


def imported(paths):
    """The packages that files of Python, or the code cells of notebooks, import at any place."""
    found = set()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = [cell.source for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
            text = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", cell, flags=re.MULTILINE) for cell in cells)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    distributions = metadata.packages_distributions()
    # matplotlib, ipywidgets, JupyterLab and Sphinx cannot do without these.
    along = {"pillow", "ipython", "matplotlib-inline", "docutils"}
    return {package(d) for name in found for d in distributions.get(name, [])} - along - {"inception-lab"}


def test_every_package_that_is_imported_is_a_direct_dependency():
    folders = ("inception_lab", "scripts", "benchmarks", "docs", "tests")
    assert imported([path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]) <= direct_dependencies()


def test_the_course_alone_has_all_that_students_run():
    """The notebooks, the exercises, and the commands that need no extra."""
    course = {package(requirement) for requirement in PROJECT["dependencies"]}
    scripts = [ROOT / "scripts" / name for name in ("notebooks.py", "grading.py")]
    assert imported([*NOTEBOOKS, *ROOT.glob("exercises/*.ipynb"), *ROOT.glob("inception_lab/**/*.py")]) <= course
    assert imported([*scripts, *ROOT.glob("benchmarks/*.py")]) <= course
    assert not course & {"nbgrader", "sphinx", "playwright", "pytest"}


@pytest.mark.slow
def test_answers_are_checked_without_the_extras(tmp_path):
    """`make check` installs the course alone; what the extras bring is hidden here."""
    hide = "import sys; sys.modules |= dict.fromkeys(['nbgrader', 'traitlets.config', 'sphinx', 'playwright'])"
    run = f"{hide}; sys.path.insert(0, 'scripts'); import exercises; sys.exit(exercises.main(sys.argv[1:]))"
    script = tmp_path / "check.py"  # a file, since the process that runs the answers imports it
    script.write_text(f"if __name__ == '__main__':\n    {run}\n")
    command = [sys.executable, script, "check", "exercises/02_inception_module.ipynb"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1 and "0 of 5 right" in done.stdout, done.stdout + done.stderr


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["version"] == inception_lab.__version__
    assert metadata.version(PROJECT["name"]) == PROJECT["version"]


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == PROJECT["version"]


def test_citation_names_authors_license_and_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "references"} <= citation.keys()
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:1409.4842"
    assert paper["authors"][0]["family-names"] == "Szegedy"


# --- checks --------------------------------------------------------------------------------------------------


def test_the_hooks_before_a_commit_are_the_checks_of_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    hooks = {" ".join(hook["entry"].split()[:2]).removeprefix(".venv/bin/") for hook in repository["hooks"]}
    assert hooks == {"ruff check", "ruff format", "mypy", "lint-imports"}
    recipe = re.search(r"^lint:.*?\n\n", (ROOT / "Makefile").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]
    assert all(hook in recipe for hook in hooks)


WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}


def commands_of(workflow):
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_workflow_calls_make_on_the_versions_of_python_that_are_supported():
    jobs = WORKFLOWS["ci"]["jobs"]
    assert jobs["quick"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert {"make lint", "make quick", "make test"} <= set(commands_of(WORKFLOWS["ci"]))
    assert WORKFLOWS["ci"][True]["schedule"]  # "on", which YAML reads as true


def test_the_workflow_does_without_make_what_windows_and_a_mac_do():
    job = WORKFLOWS["ci"]["jobs"]["systems"]
    assert {name.partition("-")[0] for name in job["strategy"]["matrix"]["system"]} == {"ubuntu", "macos", "windows"}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert not [command for command in commands if "make" in command]
    assert any(command.startswith("inception-lab check") for command in commands)
    setup = (ROOT / "docs" / "setup.md").read_text(encoding="utf-8")
    assert commands[0].replace(".[test,grade,docs]", ".").replace('"', "") in setup


def test_the_site_is_published_from_main_when_its_tests_have_passed():
    site = WORKFLOWS["site"]
    assert site[True]["workflow_run"]["workflows"] == [WORKFLOWS["ci"]["name"]]
    assert site[True]["workflow_run"]["branches"] == ["main"]
    assert "conclusion == 'success'" in site["jobs"]["build"]["if"]
    assert site["jobs"]["publish"]["needs"] == "build"
    paths = [step["with"]["path"] for step in site["jobs"]["build"]["steps"] if "path" in step.get("with", {})]
    assert paths == ["build/site/html"]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_calls_targets_that_exist_and_needs_no_secret(workflow):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = re.findall(r"make (?:[A-Z]+=\S* )*(\S+)", "\n".join(commands_of(workflow)))
    assert set(called) - {".venv/.installed"} <= targets
    assert "secrets." not in str(workflow)
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_make_quick_tests_some_of_every_package():
    tests = ROOT / "tests"
    for folder, names in QUICK.items():
        place = tests if folder == "tests" else tests / folder
        assert names and all((place / f"{name}.py").is_file() for name in names), folder
    assert {path.name for path in tests.iterdir() if any(path.glob("test_*.py"))} <= set(QUICK)


@pytest.mark.parametrize(
    "file, line",
    [
        ("models/blocks.py", "import inception_lab.costs.published"),
        ("costs/published.py", "import inception_lab.data.crops"),
        ("training/recipes.py", "import inception_lab.evaluation.records"),
        ("lens/images.py", "import inception_lab.evaluation.records"),
        ("plots/style.py", "import inception_lab.training.recipes"),
        ("training/recipes.py", "import inception_lab.plots.style"),
        ("exercises.py", "import inception_lab.common.checks"),
        ("another.py", ""),
    ],
)
def test_an_import_that_points_upwards_is_refused(tmp_path, file, line):
    """By the contracts that `make lint` holds the library to."""
    shutil.copytree(ROOT / "inception_lab", tmp_path / "inception_lab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "inception_lab" / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout or "not listed as layers" in done.stdout + done.stderr


# --- README -------------------------------------------------------------------------------------------------


def test_readme_and_the_page_on_setting_up_name_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = README + (ROOT / "docs" / "setup.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z]+)", text, re.MULTILINE))
    assert {"lab", "test", "course", "lint"} <= named <= targets


def test_readme_lists_exactly_the_notebooks_that_exist():
    assert NOTEBOOKS
    listed = set(re.findall(r"\((notebooks/[\w/]+\.ipynb)\)", README))
    assert listed == {path.relative_to(ROOT).as_posix() for path in NOTEBOOKS}


def test_readme_is_short():
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)", "", README)
    assert len(text.split()) <= 900


def test_readme_says_how_much_disk_and_memory_is_needed():
    memory, disk = re.search(r"(\d) GB of memory, (\d) GB of disk", README).groups()
    assert int(memory) == notebooks.MEMORY  # which `make test` and `make course` hold each notebook to
    setup = " ".join((ROOT / "docs" / "setup.md").read_text(encoding="utf-8").split())
    download, installed = re.search(r"downloads (\S+) GB, and `.venv` then holds (\S+) GB", setup).groups()
    assert float(download) + float(installed) <= int(disk)


def test_readme_links_to_files_that_exist():
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


# --- what is in the repository ------------------------------------------------------------------------------


def test_no_file_holds_a_path_of_somebodys_machine():
    # A path starts at a slash that follows no word, dot or slash, unless these are file://.
    folders = rb"(?:home|Users|root|work|private/var|tmp/ipykernel_\d+)"
    machine = re.compile(rb"(?:(?<![\w./:-])|file://)/" + folders + rb"/\w[^\s\"']*|\b[A-Z]:[/\\]+Users\b")
    found = {path.name: match.group() for path in repository_files() if (match := machine.search(path.read_bytes()))}
    assert not found


def test_line_ends_are_the_same_on_every_system():
    """A clone on Windows has the bytes that digests of recorded files were made from."""
    repository_files()
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not [line for line in listed.splitlines() if line.startswith(("i/crlf", "i/mixed"))]
    assert not [line for line in listed.splitlines() if "attr/text=auto eol=lf" not in line]


def test_repository_is_small():
    assert sum(path.stat().st_size for path in repository_files()) < 38e6


# --- notebooks ----------------------------------------------------------------------------------------------


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


@pytest.fixture
def code_cells(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    return cells


def test_no_table_cuts_a_sentence(code_cells):
    """pandas cuts words at so many letters; without a limit a table breaks its lines."""
    assert not [cell.source for cell in code_cells if re.search(r"max_colwidth\W+\d", cell.source)]


def carries(cell, option):
    """Whether an option of nbval stands in the tags of a cell or in a comment, where nbval looks for it."""
    return option in cell.metadata.get("tags", []) or option.replace("-", "_").upper() in cell.source


def test_notebook_was_executed_from_top_to_bottom_without_errors(code_cells):
    assert [cell.execution_count for cell in code_cells] == list(range(1, len(code_cells) + 1))
    assert not [output for cell in code_cells for output in cell.outputs if output.output_type == "error"]


def test_notebook_compares_the_outputs_of_most_cells(code_cells):
    ignored = [cell.execution_count for cell in code_cells if carries(cell, "nbval-ignore-output")]
    assert len(ignored) <= len(code_cells) / 4, f"cells that ignore their output: {ignored}"


@pytest.mark.parametrize("option", ["nbval-skip", "nbval-raises-exception", "raises-exception"])
def test_notebook_skips_no_cell_and_expects_no_failure(code_cells, option):
    assert not [cell.execution_count for cell in code_cells if carries(cell, option)]


def test_notebook_has_short_cells(code_cells):
    lengths = [len(cell.source.strip().splitlines()) for cell in code_cells]
    assert statistics.median(lengths) < 10
    assert max(lengths) <= 25, f"too long: {[n + 1 for n, length in enumerate(lengths) if length > 25]}"


def test_notebook_is_under_a_megabyte(path):
    assert path.stat().st_size < 1e6


def test_notebook_is_as_make_save_leaves_it(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "version" not in notebook.metadata.language_info
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert all(notebooks.smaller(data) == data for data in shown)
    photographs = [base64.b64decode(data["image/jpeg"]) for data in shown if "image/jpeg" in data]
    assert max(map(len, photographs), default=0) <= 60_000
