"""A pipeline of two small stages, for tests of DVC's queue."""

DVC_YAML = """
stages:
  embed:
    cmd: python -c "print('embedding'); open('embedding.txt', 'w').write('x')"
    deps: [compare.py]
    outs: [embedding.txt]
  compare:
    cmd: python compare.py
    deps: [compare.py, embedding.txt]
    params: [classes, seeds, subset_seed, finetune.epochs]
    metrics:
      - metrics/compare.json: {cache: false}
"""

COMPARE = """
import json, pathlib, sys, time, yaml
settings = yaml.safe_load(open("params.yaml"))
if settings["classes"] > 10:
    sys.exit(f"error: classes = {settings['classes']}: too many")
time.sleep(settings["finetune"]["epochs"])
pathlib.Path("metrics").mkdir(exist_ok=True)
del settings["resume"]  # which `make verify` changes, and no result depends on
pathlib.Path("metrics/compare.json").write_text(json.dumps(settings))
"""


def replace(clone):
    """Put the small pipeline in a clone, and commit it."""
    (clone.folder / "data" / "dvc.yaml").unlink()
    (clone.folder / "dvc.yaml").write_text(DVC_YAML)
    (clone.folder / "compare.py").write_text(COMPARE)
    clone.configure(finetune={"epochs": 1})
    return clone
