"""What forges and citation tools read agrees with the code, and gives a stranger's code no right to write."""

import json
import re
from pathlib import Path

import pytest
import yaml

from src import demo
from src.storage import paths

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
GITLAB = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/forges.md").read_text(), re.DOTALL)


def workflow(name: str) -> dict:
    """A workflow by its name; BaseLoader, since YAML 1.1 reads the key `on` as true."""
    return yaml.load((ROOT / f".github/workflows/{name}.yml").read_text(), yaml.BaseLoader)


def shell(job: dict) -> str:
    """The commands of a job of GitHub's."""
    return "\n".join(step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_job_that_runs_code_of_the_repository_may_write(path):
    described = workflow(path.stem)
    assert described["permissions"] == {"contents": "read"}
    assert set(described["on"]) <= {"push", "pull_request"}
    for job in described["jobs"].values():
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)
        if "permissions" in job:
            assert job["permissions"] == {"pull-requests": "write"}
            assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
            assert not checkouts
            assert "make" not in shell(job)


def test_the_tests_run_from_the_oldest_python_that_ruff_and_mypy_are_told():
    pythons = workflow("test")["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = re.search(r'python_version = "(.*)"', (ROOT / "pyproject.toml").read_text())[1]
    assert pythons[0] == oldest
    assert pythons == yaml.safe_load(GITLAB[1])["test"]["parallel"]["matrix"][0]["PYTHON"]


def test_both_forges_keep_the_page_of_the_demo():
    assert f"cd {demo.DEMO}\n" in (github := shell(workflow("experiment")["jobs"]["demo"]))
    assert f"cp {paths.REPORT} ../changes" in github
    assert f"cp {demo.DEMO / paths.REPORT} changes" in yaml.safe_load(GITLAB[1])["demo"]["script"]


def test_the_citation_and_the_container_have_the_title_of_the_readme():
    title = (ROOT / "README.md").read_text().splitlines()[0].removeprefix("# ")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"] == title
    assert (ROOT / "LICENSE").read_text().startswith(f"{citation['license']} License\n")
    assert json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["name"] == title


def test_every_package_of_weights_has_its_source_and_licence_in_the_guide():
    guide = (ROOT / "docs/guide.md").read_text()
    packages = re.findall(r"^(efficientnet.*)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert packages
    assert [name for name in packages if f"| `{name}` |" not in guide] == []
