"""One cell of the 2 x 2 table on the test images. Stages eval_resnet, eval_convnext, and the controls' two."""

from typing import TYPE_CHECKING

from src.core.design import QUESTION, ROLES
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run, start

if TYPE_CHECKING:
    import numpy as np

    from src.records.embed import Embedding
    from src.records.evaluate import Evaluations
    from src.records.finetune import Trainings
    from src.records.tune import SearchSummary


def main(settings: Settings, backbone: str, column: str) -> None:
    cell = f"{backbone}.{column}"
    name = paths.cell_name(cell)
    if cell not in QUESTION and not settings.controls:
        plots = paths.plots(name)
        outs = (plots, paths.pictures(plots), paths.record(name), paths.metrics(name))
        files.write_empty(paths.predictions(cell), *outs)
        return
    evaluations = of_frozen_role(settings, backbone) if column == "frozen" else of_finetuned_role(settings, backbone)
    if evaluations.arms:
        files.write_json(paths.metrics(name), {backbone: evaluations.numbers()})
        files.write_record(paths.record(name), evaluations)
        first, folder = next(iter(evaluations.arms)), paths.plots(name)
        for subject in ("confusion", "per_class"):  # that DVC's plots draw, by a name that no setting changes
            files.write_text(folder / f"{subject}.csv", files.read_bytes(folder / subject / f"{first}.csv").decode())


def of_finetuned_role(settings: Settings, role: str) -> "Evaluations":
    """The evaluations of what the stages `tune` and `finetune_*` left."""
    from src.records.finetune import Trainings
    from src.records.tune import SearchSummaries

    trainings = files.read_record(paths.record(f"finetune_{role}"), Trainings)
    search = files.read_record(paths.record("tune"), SearchSummaries).backbones.get(role)
    return finetuned(settings, role, trainings, search)


def of_frozen_role(settings: Settings, role: str) -> "Evaluations":
    """The evaluations of what the stage `embed_*` left."""
    from src.records.embed import Embedding

    return frozen(settings, role, files.read_record(paths.record(f"embed_{role}"), Embedding))


def finetuned(
    settings: Settings, backbone: str, trainings: "Trainings", search: "SearchSummary | None"
) -> "Evaluations":
    """The fine-tuned networks' predictions, scores and costs."""
    from src.evaluate.finetuned import Checkpoint, FinetunedBackbone, evaluate
    from src.storage import raw

    def checkpoint(seed: int, method: str) -> Checkpoint:
        return files.read_tensors(paths.of_seed(paths.checkpoints(backbone), seed) / f"{method}.safetensors")

    cell = f"{backbone}.finetuned"
    return evaluate(
        paths.predictions(cell),
        paths.plots(paths.cell_name(cell)),
        backbone=FinetunedBackbone(
            role=backbone,
            methods=settings.finetune.methods,
            checkpoint=checkpoint,
            trainings=trainings,
            raw={split: raw.images(split) for split in ("train", "test")},
            subsets=subsets(settings),
            watch=settings.finetune.watch,
            search=search,
        ),
        # Whatever the precision of training: what is compared does not depend on what the machine computes fast.
        accelerator=start(settings, "fp32"),
    )


def subsets(settings: Settings) -> "dict[int, dict[str, np.ndarray]]":
    """The images of every seed."""
    return {seed: files.read_arrays(paths.subset(seed)) for seed in settings.seeds}


def frozen(settings: Settings, backbone: str, embedding: "Embedding") -> "Evaluations":
    """The read-outs of the frozen features, fitted on the subset's training images."""
    from src.evaluate import timing
    from src.evaluate.frozen import FrozenBackbone, evaluate
    from src.nets import models, preprocess
    from src.storage import raw
    from src.storage.features import read_features

    cell = f"{backbone}.frozen"
    features, head = read_features(paths.features(backbone))
    state, origin = files.read_tensors(paths.weights(backbone))
    images = subsets(settings)
    speed = timing.network(
        models.without_head(models.restore(origin["arch"], state, settings.image_size, needs_head=False)),
        raw.images("test"),
        images[settings.seeds[0]]["test_index"],
        view=preprocess.view(origin["arch"], settings.image_size, settings.normalisation, weights=origin["weights"]),
        accelerator=start(settings, "fp32"),
    )
    return evaluate(
        paths.predictions(cell),
        paths.plots(paths.cell_name(cell)),
        backbone=FrozenBackbone(
            role=backbone,
            arch=origin["arch"],
            features=features,
            head=head,
            embedding=embedding,
            speed=speed,
        ),
        subsets=images,
        classes=files.read_json(paths.CLASSES),
        config=settings.frozen,
        configurations=settings.tune.configurations,
    )


if __name__ == "__main__":
    run(main, ROLES, ("frozen", "finetuned"))
