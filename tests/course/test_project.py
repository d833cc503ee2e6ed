"""The files around the course agree with one another, and the notebooks are as readers are promised."""

import ast
import re
import statistics
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
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
    assert pip == ["-c constraints.txt", "-e .[test]"]
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


def test_every_package_that_is_imported_is_a_direct_dependency():
    here = {"inception_lab", "conftest"}
    distributions = metadata.packages_distributions()
    imported = set()
    for path in [*ROOT.glob("inception_lab/*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("tests/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.partition(".")[0])
    needed = {package(d) for name in imported - here for d in distributions.get(name, [])}
    # matplotlib and ipywidgets cannot do without these two.
    assert needed <= direct_dependencies() | {"pillow", "ipython"}


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["version"]
    assert metadata.version(PROJECT["name"]) == PROJECT["version"]


def test_citation_names_authors_license_and_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "references"} <= citation.keys()
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:1409.4842"
    assert paper["authors"][0]["family-names"] == "Szegedy"


# --- README -------------------------------------------------------------------------------------------------


def test_readme_names_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z]+)", README, re.MULTILINE))
    assert {"lab", "test", "course", "lint"} <= named <= targets


def test_readme_lists_exactly_the_notebooks_that_exist():
    assert NOTEBOOKS
    assert sorted(set(re.findall(r"\(notebooks/(\w+\.ipynb)\)", README))) == [path.name for path in NOTEBOOKS]


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


def test_repository_is_small():
    assert sum(path.stat().st_size for path in repository_files()) < 30e6


# --- notebooks ----------------------------------------------------------------------------------------------


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


@pytest.fixture
def code_cells(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    return cells


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
