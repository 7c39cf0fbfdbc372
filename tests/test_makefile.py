"""The Makefile where paths are as people have them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
[ "$1" = -c ] && exit
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$(pwd)" "$@" >> ran\\n' > .venv/bin/python
chmod +x .venv/bin/python
cp .venv/bin/python .venv/bin/dvc
"""


@pytest.mark.parametrize("name", ["my repo", "it's mine (1) & $HOME;x"])
@pytest.mark.parametrize(
    "target", ["demo", "repro", "sweep", "scaling", "table", "report", "doctor", "verify", "race", "export"]
)
def test_every_target_runs_the_programs_of_its_environment_in_a_folder_of_any_name(tmp_path, name, target):
    project = tmp_path / name
    done = made(project, target, PYTHON)
    assert done.returncode == 0, done.stderr
    ran = (project / "ran").read_text().splitlines()
    assert all(line.startswith(f"{project} ") for line in ran)
    assert ran[0].endswith("-r requirements.txt")
    assert len(ran) > 1


def test_an_older_python_is_refused_before_anything_is_made(tmp_path):
    older = f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 6); exec(sys.argv[2])' \"$@\""
    done = made(tmp_path / "project", "doctor", older)
    assert done.returncode != 0
    assert "is Python 3.9; needed is 3.10 or newer, for example make PYTHON=python3.12\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "project" / ".venv").exists()


def made(project, target, python):
    """A target of the Makefile in a new folder, where `python` is a script."""
    project.mkdir()
    for file in ("Makefile", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / file, project)
    shutil.copytree(ROOT / "locks", project / "locks")
    stand_in = project.parent / "python"
    stand_in.write_text(python)
    stand_in.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-C", str(project), target, f"PYTHON={stand_in}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)
