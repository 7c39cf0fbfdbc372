"""How fast this machine trains and embeds by this project, at its limit, and by the plain recipe: not a stage.

    python -m stages.bench --rounds 7 --images 1280

Architectures, image size, batch size, optimizer, device and precision are those of params.yaml; the images are
generated, and the weights random, since neither changes the speed. Writes metrics/bench.json.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from src import bench, files, inference, runtime
from src.bench import Task
from src.errors import UserError
from src.params import Settings
from stages import run

WAYS = ("this", "roof", "plain", "this / roof", "this / plain")


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each way, in turns")
    parser.add_argument("--images", type=int, default=1280, help="of each way in each round")
    found = parser.parse_args(words)
    for name in ("rounds", "images"):
        if getattr(found, name) < 1:
            raise UserError(f"--{name} {getattr(found, name)}: allowed is 1 or more")
    return found


def line(name: str, found: dict[str, Any]) -> str:
    cells = [f"{found[way]['median']:,.0f}" if "/" not in way else f"{found[way]['median']:.2f}" for way in WAYS]
    return "  ".join([f"{name:44}", *(f"{cell:>12}" for cell in cells)])


def main(settings: Settings, words: Sequence[str]) -> None:
    arguments = parse(words)
    accelerator = runtime.start(settings.device, settings.precision)
    report: dict[str, Any] = {}
    print("  ".join([f"{'images/s, medians':44}", *(f"{way:>12}" for way in WAYS)]))
    for role in ("resnet", "convnext"):
        arch = getattr(settings, role).arch
        for what, ways, batch_size in (
            ("train", bench.TRAINING, settings.finetune.batch_size),
            ("embed", bench.EMBEDDING, inference.batch_size(settings.image_size, accelerator.device)),
        ):
            task = Task(arch, settings.image_size, batch_size, settings.finetune.recipe(), accelerator)
            batches = max(1, arguments.images // batch_size)
            made = {name: way(task) for name, way in ways.items()}
            seconds = bench.take_turns(made, batches=batches, rounds=arguments.rounds)
            name = f"{what} {arch}, {settings.image_size} px, batch {batch_size}"
            report[name] = bench.summary(seconds, batches * batch_size)
            print(line(name, report[name]), flush=True)
    environment = runtime.environment(accelerator)
    files.write_json(files.BENCH_METRICS, {"bench": report, "rounds": arguments.rounds, "environment": environment})
    print(f"{arguments.rounds} rounds; {environment[0]}\n{files.BENCH_METRICS}")


if __name__ == "__main__":
    run(lambda settings: main(settings, sys.argv[1:]))
