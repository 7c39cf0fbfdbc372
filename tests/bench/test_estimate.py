"""The estimate counts the images that an experiment reads."""

import numpy as np
import pytest

from src.bench import estimate
from src.core import seeds
from src.prepare.subset import choose_images
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.settings.work import expected


def settings(**changes) -> Settings:
    return Settings.model_validate(filled({"dataset": "cifar10", "classes": 10, **changes}))


def embedded(**changes) -> int:
    chosen = settings(**changes)
    return expected(chosen, *estimate.sizes(chosen)).embed


def test_a_look_embeds_the_images_that_it_reads_and_not_the_data_set():
    assert embedded(seeds=[0], prepare={"per_class": 300}) == 13_000
    assert embedded(seeds=[0, 1, 2], prepare={"per_class": "all"}) == 60_000
    assert embedded(seeds=[0], classes=2, prepare={"per_class": "all"}) == 12_000


@pytest.mark.parametrize("prepare", [{"per_class": 300}, {"per_class": 1000, "shots": 50}, {"per_class": "all"}])
def test_several_seeds_embed_about_as_many_images_as_they_choose_together(prepare):
    chosen = settings(seeds=[0, 1, 2], prepare=prepare)
    labels, names = [np.repeat(np.arange(10), count) for count in (5000, 1000)], [str(name) for name in range(10)]
    read = set()
    for seed in chosen.seeds:
        part = choose_images(*labels, range(10), names, chosen.prepare, seeds.generator(seed, "split"))
        read |= {*part["train_index"].tolist(), *part["val_index"].tolist()}
    assert embedded(seeds=[0, 1, 2], prepare=prepare) == pytest.approx(len(read) + 10_000, rel=0.02)
