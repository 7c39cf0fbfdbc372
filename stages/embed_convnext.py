"""The modern arm's features of every image, whatever the subset: a sweep over class counts pays for them once."""

import time

import numpy as np

from src import files, images, inference, models, runtime
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    device = runtime.choose_device(settings.device)
    state, origin = files.read_tensors(files.CONVNEXT_WEIGHTS)
    model = models.restore(origin["arch"], state)
    width = models.feature_width(model)
    model = runtime.place(models.without_head(model), device)
    view = images.view(origin["arch"], settings.image_size)
    start, count = time.perf_counter(), 0
    for split in ("train", "test"):
        raw = files.read_array(files.RAW / f"{split}_images.npy")
        blocks = inference.outputs(model, raw, np.arange(len(raw)), view=view, label=f"embed {split}")
        files.write_array(files.CONVNEXT_FEATURES / f"{split}.npy", blocks, (len(raw), width), "float32")
        count += len(raw)
    seconds = time.perf_counter() - start
    print(f"{count:,} images -> {width} features each, {count / seconds:,.0f} images/s")
    report = {"images": count, "seconds": seconds, "images_per_second": count / seconds}
    report |= {"parameters": models.parameters(model), "macs": models.macs(model, view.size)}
    files.write_json(files.EMBED_METRICS, {"embed_convnext": report | {"environment": runtime.environment(device)}})


if __name__ == "__main__":
    run(main)
