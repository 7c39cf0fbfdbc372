"""The modern arm on the test images: each read-out of the frozen features, fitted on the subset's training images."""

import time

from src import files, readout, results, seeds
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    subset = files.read_arrays(files.SUBSET / "subset.npz")
    classes = files.read_json(files.SUBSET / "classes.json")
    labels, index = subset["test_labels"], subset["test_index"]
    train, test = (files.read_array(files.CONVNEXT_FEATURES / f"{split}.npy") for split in ("train", "test"))
    parts = train[subset["train_index"]], subset["train_labels"], train[subset["val_index"]], subset["val_labels"]
    features = readout.Features(*parts)
    embed = files.read_json(files.EMBED_METRICS)["embed_convnext"]
    report = {}
    for name in settings.frozen.readouts:
        start = time.perf_counter()
        fitted = readout.fit(name, features, rng=seeds.generator(settings.seed, name))
        fit_seconds = time.perf_counter() - start
        found = results.write_arm(
            files.CONVNEXT_PREDICTIONS / f"{name}.npz",
            files.CONVNEXT_PLOTS,
            name,
            f"frozen backbone, {name.replace('_', ' ')}",
            logits=fitted.logits(test[index]),
            labels=labels,
            index=index,
            classes=classes,
        )
        # The backbone's share is the time that embedding took for as many images.
        report[name] = found | fitted.chosen | {key: embed[key] for key in ("parameters", "macs", "images_per_second")}
        report[name] |= {
            "train_seconds": fit_seconds + fitted.images / embed["images_per_second"],
            "seconds": len(index) / embed["images_per_second"],
            "environment": embed["environment"],
        }
        print(f"convnext.{name}: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")
    files.write_json(files.CONVNEXT_METRICS, {"convnext": report})


if __name__ == "__main__":
    run(main)
