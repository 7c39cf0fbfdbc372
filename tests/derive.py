"""What a stage's code says about its entry in dvc.yaml: the sources it reaches, the settings and files it touches."""

import ast
from pathlib import Path

from pydantic import BaseModel

from src import files
from src.params import Settings


def modules(path: Path) -> set[str]:
    """The sources that a module reaches, itself included: what it imports, wherever, and what lies beside its modules.

    The latter are files and folders that a module names by `Path(__file__).with_name(...)`.
    """
    found: set[str] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if str(current) in found:
            continue
        found.add(str(current))
        tree = ast.parse(current.read_text())
        waiting += [Path(name.replace(".", "/") + ".py") for name in _imports(tree)]
        found |= {str(current.with_name(name)) for name in _beside(tree)}
    return found


def _beside(tree: ast.AST) -> set[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call for call in calls if ast.unparse(call.func) == "Path(__file__).with_name"]
    return {ast.literal_eval(call.args[0]) for call in named}


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # never runs
        if isinstance(node, ast.ImportFrom) and node.module in ("src", "stages"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if Path(name.replace(".", "/") + ".py").exists() else "stages.__init__" for name in names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("src.", "stages.")):
            found.add(node.module or "")
        else:
            found |= _imports(node)
    return found


def settings(path: Path) -> set[str]:
    """The settings that a stage reads: each `settings.a.b` as far as it names fields; a section used whole is whole.

    `settings.model_dump()` reads every one that it does not exclude.
    """
    found = set()
    tree = ast.parse(path.read_text())
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if id(node) in inner or not isinstance(node, ast.Attribute | ast.Name):
            continue
        root, *chain = ast.unparse(node).split(".")
        if root == "settings":
            if chain == ["model_dump"]:
                return {name for name, field in Settings.model_fields.items() if not field.exclude}
            name = _fields(chain)
            if name:
                found.add(name)
    return {name for name in found if not any(name.startswith(other + ".") for other in found)}


def _fields(chain: list[str]) -> str:
    model: type | None = Settings
    names = []
    for part in chain:
        if model is None or not issubclass(model, BaseModel) or part not in model.model_fields:
            break
        names.append(part)
        annotation = model.model_fields[part].annotation
        model = annotation if isinstance(annotation, type) else None
    return ".".join(names)


def artefacts(path: Path) -> tuple[set[str], set[str]]:
    """The artefacts that a stage reads and writes: `files.NAME` inside the arguments of read... and write... calls.

    Raises:
        AssertionError: an artefact is named elsewhere, so that nobody could tell what becomes of it.
    """
    tree = ast.parse(path.read_text())
    read, written, seen = set(), set(), set()
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).split(".")[-1]
        if name.startswith(("read", "write")):
            for argument in call.args:
                constants = _constants(argument)
                seen |= constants
                (read if name.startswith("read") else written).update(constants)
    unclear = _constants(tree) - seen
    assert not unclear, f"{path}: {unclear} is neither read nor written by a call that says so"
    return read, written


def _constants(tree: ast.AST) -> set[str]:
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    constants = {name.removeprefix("files.") for name in names if name.startswith("files.")}
    return {str(getattr(files, name)) for name in constants if name.isupper()}
