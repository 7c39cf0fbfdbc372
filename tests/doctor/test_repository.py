"""What the doctor says of git, DVC's cache and locks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from src.core.errors import UserError
from src.doctor import __main__ as doctor
from src.doctor import repository

HOLD = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def git(*words: str) -> None:
    author = ("-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, *words], check=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("SWEEP_ROOT", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "repository"
    git("init", "-q", "-b", "trunk", str(root))
    monkeypatch.chdir(root)
    Path(".dvc/tmp").mkdir(parents=True)
    return root


def lines(check) -> list[str]:
    return [f"{'fault: ' * found.fault}{found.line}" for found in check()]


def test_the_state_of_git_is_told(project, monkeypatch):
    assert lines(repository.state) == ["fault: no commit yet: git add --all && git commit"]
    Path("folder").mkdir()
    Path("folder/a").write_text("")
    git("add", "--all")
    for _ in range(2):
        git("commit", "-q", "--allow-empty", "-m", "some")
    (said,) = lines(repository.state)
    assert said.startswith("commit ")
    assert said.endswith(", on trunk")
    Path("new").write_text("")
    git("checkout", "-q", "--detach")
    monkeypatch.chdir("folder")
    (said,) = lines(repository.state)
    assert said.endswith(
        f"are on no branch, 1 files differ from the commit, the project is the folder folder of {project}"
    )
    shallow = project.with_name("shallow")
    git("clone", "-q", "--depth", "1", project.as_uri(), str(shallow))
    monkeypatch.chdir(shallow)
    assert lines(repository.state)[1:] == [
        "fault: the clone is shallow, so that no experiment could be brought back to it: git fetch --unshallow"
    ]


def test_outside_of_a_repository_and_in_somebody_elses_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lines(lambda: doctor.checked("git", repository.state)) == [
        "fault: there is no git repository here; run `git init`, and commit"
    ]
    git("init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")
    (line,) = lines(lambda: doctor.checked("git", repository.state))
    assert line.startswith("fault: git refuses this repository")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("types", "configured", "line"),
    [
        ("hardlink, symlink", "", "copies, which take the room twice"),
        ("reflink, hardlink", "", "links of the kind reflink, which take no room"),
        ("hardlink, symlink", "reflink,symlink,copy", "links of the kind symlink, which take no room"),
        ("<https://error.dvc.org/no-dvc-cache>", "", "links are not known before the first run"),
    ],
)
def test_links_of_the_cache_are_those_that_are_possible_and_wanted(monkeypatch, types, configured, line):
    said = f"DVC version: 3\nCache types: {types}\nRemotes: s3\n"
    monkeypatch.setattr(repository, "dvc_doctor", lambda: subprocess.CompletedProcess([], 0, said, ""))
    Path(".dvc/config").write_text(f"[cache]\n    type = {configured}\n" if configured else "")
    assert lines(repository.of_dvc) == [line, "s3"]


@pytest.mark.usefixtures("project")
def test_dvcs_own_doctor_is_understood():
    git("commit", "-q", "--allow-empty", "-m", "some")
    Path(".dvc/config").write_text("")
    repository.dvc_doctor.cache_clear()
    assert lines(repository.of_dvc) == ["links are not known before the first run", "none"]
    Path(".dvc/cache/files/md5").mkdir(parents=True)
    repository.dvc_doctor.cache_clear()
    assert repository.link() in ("reflink", "copy")


@pytest.mark.usefixtures("project")
def test_dvcs_locks_of_paths_are_told_by_whether_their_process_lives():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    runs = subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE)
    other = subprocess.Popen(["sleep", "60"])
    try:
        entries = {
            "/a/raw": {"pid": runs.pid, "cmd": "dvc repro"},
            "/a/weights": {"pid": ended.pid, "cmd": "dvc repro"},
            "/a/subset": {"pid": other.pid, "cmd": "dvc pull"},
        }
        repository.RWLOCK.write_text(json.dumps({"write": entries, "read": {"/a/x": [entries["/a/raw"]]}}))
        assert lines(repository.locks) == [
            f"raw, by `dvc repro` (pid {runs.pid}), which runs; wait until it ends",
            f"weights, by `dvc repro` (pid {ended.pid}), which was killed; DVC removes it",
            f"fault: subset, by `dvc pull`, which was killed; pid {other.pid} is another program now: "
            "rm .dvc/tmp/rwlock",
        ]
    finally:
        for process in (runs, other):
            process.kill()
            process.wait()
    repository.RWLOCK.write_text("{}")
    assert lines(repository.locks) == ["none"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("text", ["", "{", "[1]", '{"write": {"a": {"pid": 1}}}', "\xff"])
def test_a_damaged_lock_of_dvcs_is_a_fault(text):
    repository.RWLOCK.write_bytes(text.encode("latin1"))
    assert lines(repository.locks) == [
        "fault: .dvc/tmp/rwlock is damaged, and DVC would stop at it: rm .dvc/tmp/rwlock"
    ]


@pytest.mark.usefixtures("project")
def test_locks_are_told_with_the_process_that_holds_them():
    state = Path("data/resume/tune-0123")
    state.mkdir(parents=True)
    (state / "lock").write_text("")
    before = "tune-0123 was interrupted; the same command resumes it, `make forget` forgets it"
    assert lines(repository.locks) == [before]
    repository.LOCK.write_text("")
    for lock, end in (
        (state / "lock", "another run of this stage would save no state"),
        (repository.LOCK, "wait until it ends"),
    ):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout.readline() == "held\n"
        said = lines(repository.locks)
        assert any(f"(pid {holder.pid}); {end}" in line for line in said), said
        holder.communicate("")
    assert lines(repository.locks) == [before]
    with FileLock(state / "lock", timeout=0):
        pass


@pytest.mark.usefixtures("project")
def test_wrong_settings_and_an_error_of_a_check_are_faults_and_the_exit_status_is_one(monkeypatch, capsys):
    def fails():
        raise UserError("it is broken; mend it")

    for module, name in ((doctor.machine, "versions"), (doctor.repository, "of_dvc"), (doctor.repository, "state")):
        monkeypatch.setattr(module, name, list)
    monkeypatch.setattr(doctor.repository, "locks", fails)
    Path("params.yaml").write_text("classes: 1\n")
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 1
    assert [line.split("fault: ")[1] for line in capsys.readouterr().out.splitlines()[:2]] == [
        "it is broken; mend it",
        "params.yaml: classes = 1: allowed is a whole number >= 2 (the first K classes) or a list of two or more class "
        "names",
    ]
    monkeypatch.setattr(doctor.repository, "locks", list)
    for module, name in ((doctor.machine, "device"), (doctor.machine, "disk"), (doctor.network, "reach")):
        monkeypatch.setattr(module, name, lambda *_: [])
    monkeypatch.setattr(doctor.repository, "link", str)
    Path("params.yaml").write_text("classes: 2\n")
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "no fault\n"
