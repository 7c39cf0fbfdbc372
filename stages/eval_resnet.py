"""The legacy arm on the test images: its logits, what is right and wrong about them, and what they cost."""

import time

from src import files, images, inference, models, plots, results, runtime
from src.params import Settings
from stages import run


def main(settings: Settings) -> None:
    device = runtime.choose_device(settings.device)
    state, about = files.read_tensors(files.RESNET_CHECKPOINT)
    model = runtime.place(models.restore(about["arch"], state), device)
    view = images.view(about["arch"], about["image_size"])
    subset = files.read_arrays(files.SUBSET / "subset.npz")
    raw = files.read_array(files.RAW / "test_images.npy")
    start = time.perf_counter()
    logits = inference.predict(model, raw, subset["test_index"], view=view, label="test")
    seconds = time.perf_counter() - start
    title = f"{about['arch']} ({about['weights']} weights), fine-tuned"
    found = results.write_arm(
        files.RESNET_PREDICTIONS,
        files.RESNET_PLOTS,
        "resnet",
        title,
        logits=logits,
        labels=subset["test_labels"],
        index=subset["test_index"],
        classes=about["classes"],
    )
    curves = plots.curves(about["history"], about["epoch"], f"{title} on {len(about['classes'])} classes")
    files.write_figure(files.RESNET_PLOTS / "pictures" / "curves.png", curves)
    found |= {
        "parameters": models.parameters(model),
        "macs": models.macs(model, view.size),
        "train_seconds": files.read_json(files.FINETUNE_METRICS)["finetune_resnet"]["seconds"],
        "seconds": seconds,
        "images_per_second": len(logits) / seconds,
        "environment": runtime.environment(device),
    }
    files.write_json(files.RESNET_METRICS, {"resnet": found})
    print(f"resnet: accuracy {found['accuracy']:.4f} on {found['n']:,} test images")


if __name__ == "__main__":
    run(main)
