"""Runs of the report's protocol that were never made."""

import numpy as np

from src.reproduction.published import published
from src.reproduction.report import Run
from src.settings.settings import Settings

MACHINE = {"processor": "Toy CPU", "device": "cpu", "threads": 1, "precision": "fp32", "torch": "2.0"}


def run(k, *, seeds=5, shift=0.0, **settings):
    """A run whose curves lie around the published ones, its accuracies `shift` above them."""
    rng, n, theirs = np.random.default_rng(k), 1000 * k, published()
    spreads = {"train_loss": 0.01, "train_accuracy": 0.002, "val_loss": 0.02, "val_accuracy": 0.004}
    curves = {
        name: np.array(theirs.curves[name][k]) + shift * name.endswith("accuracy") + rng.normal(0, sd, (seeds, 5))
        for name, sd in spreads.items()
    }
    images = rng.uniform(size=n)
    right = (images + rng.normal(0, 0.1, (seeds, n)) < curves["val_accuracy"][:, -1:]).astype(float)
    network, head = theirs.bars[k] / 2000 + shift + rng.normal(0, 0.01, (seeds, 1)), rng.uniform(0.4, 0.6, (seeds, 1))
    images = rng.uniform(size=2000)
    return Run(
        name=f"k{k:02d}-toy",
        k=k,
        settings=Settings.model_validate({"protocol": "report", "classes": k, "seeds": list(range(seeds)), **settings}),
        environment=MACHINE,
        curves=curves,
        right=right,
        losses=rng.exponential(curves["val_loss"][:, -1:], (seeds, n)),
        bar=(images < network).astype(float),
        head=(rng.permutation(images) < head).astype(float),
    )
