"""The rules of imports between the packages of src: none runs up, and there is no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

GROUND = {"core", "records", "stats", "plotting", "storage", "device", "nets"}
ROOMS = {  # what each package imports besides itself, and nothing else
    "core": set(),
    "records": {"core"},
    "stats": {"core"},
    "plotting": {"core"},
    "storage": {"core"},
    "device": {"core", "storage"},
    "nets": {"core", "storage", "device"},
    "data": GROUND,
    "prepare": GROUND | {"data"},
    "readouts": GROUND,
    "embed": GROUND,
    "finetune": GROUND,
    "tune": GROUND | {"finetune"},
    "evaluate": GROUND | {"readouts"},
    "compare": GROUND,
    "arms": GROUND | {"readouts"},
    "robustness": GROUND | {"readouts", "arms"},
    "settings": GROUND | {"data", "prepare", "readouts", "finetune", "tune", "compare", "robustness"},
    "report": GROUND | {"settings"},
    "experiments": GROUND | {"settings", "readouts"},
    "sweep": GROUND | {"settings", "data"},
    "reproduction": GROUND | {"settings", "compare", "sweep"},
    "bench": GROUND | {"settings", "data", "prepare", "finetune", "demo"},
    "doctor": GROUND | {"settings", "bench"},
    "verify": GROUND | {"settings"},
    "mend": GROUND,
    "demo": GROUND | {"settings", "mend"},
    "split": GROUND | {"data"},
    "predict": GROUND | {"settings", "data", "readouts", "arms", "report"},
    "export": GROUND | {"settings", "arms", "predict", "report"},
}


def imports() -> dict[str, set[str]]:
    """By module the modules of src and stages that it imports, wherever in its code."""
    result = {}
    for path in [*Path("src").rglob("*.py"), *Path("stages").glob("*.py")]:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        result[module] = {known for name in names if (known := _module(name)) and known != module}
    return result


def _module(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] not in ("src", "stages"):
        return None
    return name if Path(*parts).with_suffix(".py").exists() or Path(*parts).is_dir() else ".".join(parts[:-1])


def test_every_package_imports_those_below_it_alone():
    for module, reached in imports().items():
        if module.startswith("src."):
            room = module.split(".")[1]
            rooms = {name.split(".")[1] if name.startswith("src.") else name for name in reached} - {room}
            assert rooms <= ROOMS[room], f"{module} imports {rooms - ROOMS[room]}"


def test_no_module_reaches_itself():
    order = list(TopologicalSorter(imports()).static_order())  # a CycleError names the circle
    assert set(imports()) <= set(order)
