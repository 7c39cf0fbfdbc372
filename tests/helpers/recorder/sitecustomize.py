"""Records what a stage does, for tests that compare it with dvc.yaml. Python runs this file where PYTHONPATH has it.

Each process that runs a stage leaves one JSON file in the folder RECORD: the modules that were imported from the
stage on (not through the settings, whose values DVC tracks by themselves), the settings that were read, and the
artefacts that the storage layer read and wrote.
"""

import atexit
import builtins
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

IMPORTS, SETTINGS, READ, WRITTEN = {}, set(), set(), set()
PLACES, KEPT = {}, []  # by id the prefix of a section of settings; copies are kept, as ids are used again
QUIET = ("stages", "stages.progress", "src.settings.settings", "src.settings.work")
_import = builtins.__import__


def traced(name, globals=None, locals=None, fromlist=(), level=0):
    """Note who imports which of our modules, each time that a line of imports is reached."""
    module = _import(name, globals, locals, fromlist, level)
    if name.startswith(("src", "stages")):
        names = {f"{name}.{part}" for part in fromlist or ()}
        importer = (globals or {}).get("__name__", "")
        IMPORTS.setdefault(importer, set()).update(known for known in {name, *names} if known in sys.modules)
        if "src.settings.settings" in sys.modules:
            hook_settings(sys.modules["src.settings.settings"])
        if "src.storage.files" in sys.modules:
            hook_files(sys.modules["src.storage.files"])
    return module


def note(section, name):
    """Note a setting whose value the caller of the caller asked for."""
    frame = sys._getframe(2)
    caller, starts = frame.f_globals["__name__"], frame.f_code.co_name == "start"
    if id(section) in PLACES and (starts or caller not in QUIET):
        SETTINGS.add(PLACES[id(section)] + name)


def hook_settings(module):
    """Note every setting that is read once all are loaded, by its dotted name; a section that is dumped is read whole.

    What `stages` itself reads decides where an interrupted stage goes on and how long it may take, and no result,
    unless it starts the device.
    """
    if not hasattr(module, "load") or getattr(module, "recorded", False):
        return
    module.recorded = True
    section, load = module.Section, module.load
    plain, dump, copy = section.__getattribute__, section.model_dump, section.model_copy

    def read(self, name):
        if name in type(self).model_fields and not isinstance(plain(self, name), section):
            note(self, name)
        return plain(self, name)

    def dumped(self, **options):
        note(self, "*")
        return dump(self, **options)

    def copied(self, **options):
        other = copy(self, **options)
        if id(self) in PLACES:
            PLACES[id(other)] = PLACES[id(self)]
            KEPT.append(other)
        return other

    def loaded(*arguments):
        KEPT.append(settings := load(*arguments))
        PLACES.update(
            {id(settings): ""} | {id(value): f"{name}." for name, value in settings if isinstance(value, section)}
        )
        return settings

    section.__getattribute__, section.model_dump, section.model_copy, module.load = read, dumped, copied, loaded


def hook_files(module):
    """Note every path that passes one of the storage layer's doors."""
    if not hasattr(module, "empty_folder") or getattr(module, "recorded", False):
        return
    module.recorded = True
    reading, replacing, empty_folder = module.reading, module.replacing, module.empty_folder

    @contextmanager
    def read(path, *again):
        READ.add(str(path))
        with reading(path, *again):
            yield

    @contextmanager
    def replaced(path):
        WRITTEN.add(str(path))
        with replacing(path) as temporary:
            yield temporary

    def folder(path):
        WRITTEN.add(str(path))
        return empty_folder(path)

    module.reading, module.replacing, module.empty_folder = read, replaced, folder


def save():
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not spec.name.startswith("stages."):
        return
    record = {"imports": {name: sorted(result) for name, result in IMPORTS.items()}}
    record |= {"settings": sorted(SETTINGS), "read": sorted(READ), "written": sorted(WRITTEN)}
    words = "-".join([spec.name.removeprefix("stages."), *sys.argv[1:]])
    Path(os.environ["RECORD"], f"{words}.{os.getpid()}.json").write_text(json.dumps(record))


if "RECORD" in os.environ:
    builtins.__import__ = traced
    atexit.register(save)
