"""Runs two stages again and again in a clone that has their inputs, killed at random moments, until they have ended.

    python -m tests.helpers.kill CLONE KILLS SEED

Prints one line of JSON: the kills that hit a stage at work, and how often a stage went on from a saved point.
Children are forked, since PyTorch takes seconds to import.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from src.settings.settings import load
from src.storage import resume, rows
from stages import embed, finetune

RESUMED = re.compile(r"resumed|: [1-9][\d,]* embedded, [1-9]")
OUTS = ("data/checkpoints/resnet", "data/features/convnext", "plots/finetune_resnet")


def work(log: Path) -> None:
    """Both stages, in a child; what they print goes to a file, since a killed process leaves no more of it."""
    with log.open("a", buffering=1) as file, contextlib.redirect_stdout(file):
        settings = load()
        finetune.main(settings, "resnet")
        embed.main(settings, "convnext")
    os._exit(0)


def main() -> None:
    clone, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.chdir(clone)
    resume.SAVE_EVERY = 0.1
    rng, log, longest, hit, runs = random.Random(seed), Path("kill.log"), 0.0, 0, 0
    while True:
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            work(log)
        runs += 1
        wait = rng.uniform(0, longest / 2) if hit < kills and longest else 600
        while time.monotonic() - start < wait:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.002)
        else:
            os.kill(child, signal.SIGKILL)
            done, status = 0, os.waitpid(child, 0)[1]
            hit += 1
            continue
        assert status == 0, log.read_text()
        longest = max(longest, time.monotonic() - start)
        shutil.rmtree(rows.folder())  # of what was embedded, as the stages forget what they saved
        if hit >= kills:
            break
    print(json.dumps({"kills": hit, "runs": runs, "resumed": len(RESUMED.findall(log.read_text()))}))


if __name__ == "__main__":
    main()
