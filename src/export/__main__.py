"""A trained arm as a folder of its own: weights, programs and a model card, in the layout of the Hugging Face hub.

    python -m src.export --arm resnet.full --out exports/resnet.full

Nothing is uploaded. What is written is first compared with the experiment's own logits.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src.core.errors import UserError, one_line
from src.predict import arm as arms
from src.settings.settings import load
from src.storage import files, raw

CHECKED = 1000  # test images at most
FOLDER = Path("exports")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of the command line.

    Raises:
        UserError: there is a file in place of the folder.
    """
    parser = argparse.ArgumentParser(prog="python -m src.export", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arm", metavar="NAME", help="such as resnet.full; the first of the question if not given")
    parser.add_argument("--seed", type=int, help="whose network; the first of the experiment if not given")
    parser.add_argument("--out", type=Path, help=f"the folder; {FOLDER}/<arm> if not given")
    options = parser.parse_args(words)
    if options.out and options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out}: this is a file; name a folder")
    return options


def main(words: Sequence[str]) -> None:
    options, settings = parse(words), load()
    arm = arms.find(options.arm, [] if options.seed is None else [options.seed])
    arm = arm.of(arm.seeds[0])
    from src.export import card, folder, network, programs  # PyTorch takes seconds to import

    programs.require_packages()
    exported = network.read(arm, settings)
    (saved,) = arm.saved.values()
    stored = raw.images("test")
    index = saved["index"][:CHECKED]
    images, expected = stored[index], saved["logits"][: len(index)]
    out = options.out or FOLDER / arm.name
    out.parent.mkdir(parents=True, exist_ok=True)
    shape = f"images (n, {stored.shape[1]}, {stored.shape[2]}, 3) uint8 -> logits (n, {len(arm.classes)})"
    print(f"{arm.name}: {arm.title}, seed {arm.seeds[0]}; {shape}", flush=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as name:
        place = Path(name)
        checks = folder.write(place, arm, exported, images, expected)
        made = card.Made(arm, exported, settings, stored.shape[1], checks)
        files.write_text(place / "README.md", card.render(made))
        out.mkdir(exist_ok=True)
        for path in sorted(place.iterdir()):
            path.replace(out / path.name)
    print(f"{out}: README.md, config.json, model.safetensors, model.pt2, model.onnx")


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
