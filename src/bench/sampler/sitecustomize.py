"""Samples what a stage does, for `python -m src.bench profile`. Python runs this file where PYTHONPATH has it.

Each process of a stage leaves one JSON file in the folder SAMPLES: the seconds that its main thread spent under each
stack of calls, outermost first. A thread looks every few milliseconds, and the time since it looked last belongs to the
stack that it sees, so that all stacks add up to the whole. It is of the standard library alone, and starts before a
stage imports anything.
"""

import atexit
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

INTERVAL = 0.005  # seconds; a stack of fifty calls takes some ten microseconds


def stack(frame: FrameType | None) -> str:
    """The calls that led to a frame, outermost first: `__main__.main;src.finetune.loop.train_epoch`."""
    calls = []
    while frame is not None:
        calls.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}")
        frame = frame.f_back
    return ";".join(reversed(calls))


class Sampler(threading.Thread):
    """Adds up the seconds of every stack of the main thread until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        # Python itself has started until here, by the clock of the processor, as no other knows when that began.
        self.seconds = {"python": time.process_time()}

    def run(self) -> None:
        main, last = threading.main_thread().ident, time.perf_counter()
        while not self.stopped.wait(INTERVAL):
            calls, now = stack(sys._current_frames().get(main or 0)), time.perf_counter()
            self.seconds[calls] = self.seconds.get(calls, 0.0) + now - last
            last = now
        self.seconds["end"] = time.perf_counter() - last

    def save(self, folder: str, stage: str) -> None:
        """Stop, and write what was seen."""
        self.stopped.set()
        self.join()
        text = json.dumps({"stage": stage, "stacks": self.seconds})
        Path(folder, f"{os.getpid()}.json").write_text(text, encoding="utf-8")


def start() -> None:
    """Sample this process if it runs a stage, `python -m stages.<name> <words>`."""
    words = sys.orig_argv[2:]
    if sys.orig_argv[1:2] == ["-m"] and words and words[0].startswith("stages."):
        sampler = Sampler()
        sampler.start()
        atexit.register(sampler.save, os.environ["SAMPLES"], " ".join(words).removeprefix("stages."))


if "SAMPLES" in os.environ:
    start()
