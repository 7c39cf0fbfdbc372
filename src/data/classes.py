"""The class names of each dataset, and the choice of classes of an experiment."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.core.errors import UserError, did_you_mean
from src.data import folders

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = tuple(
    (
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
        "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup "
        "dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
        "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid "
        "otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray "
        "road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
        "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle "
        "wardrobe whale willow_tree wolf woman worm"
    ).split()
)

# The coarse labels: twenty superclasses of five classes each, with the names and in the order of the archive.
CIFAR100_SUPERCLASSES = {
    name: tuple(members.split())
    for name, members in {
        "aquatic_mammals": "beaver dolphin otter seal whale",
        "fish": "aquarium_fish flatfish ray shark trout",
        "flowers": "orchid poppy rose sunflower tulip",
        "food_containers": "bottle bowl can cup plate",
        "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
        "household_electrical_devices": "clock keyboard lamp telephone television",
        "household_furniture": "bed chair couch table wardrobe",
        "insects": "bee beetle butterfly caterpillar cockroach",
        "large_carnivores": "bear leopard lion tiger wolf",
        "large_man-made_outdoor_things": "bridge castle house road skyscraper",
        "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
        "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
        "medium_mammals": "fox porcupine possum raccoon skunk",
        "non-insect_invertebrates": "crab lobster snail spider worm",
        "people": "baby boy girl man woman",
        "reptiles": "crocodile dinosaur lizard snake turtle",
        "small_mammals": "hamster mouse rabbit shrew squirrel",
        "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
        "vehicles_1": "bicycle bus motorcycle pickup_truck train",
        "vehicles_2": "lawn_mower rocket streetcar tank tractor",
    }.items()
}
SHOWN = 20  # class names in an error: with more, nobody reads the line


def class_names(dataset: str, root: Path) -> tuple[str, ...]:
    """The names of a dataset's classes in the order of its labels; nothing is downloaded."""
    if dataset == "folder":
        return tuple(folders.class_names(root))
    return {
        "cifar10": CIFAR10_CLASSES,
        "cifar100": CIFAR100_CLASSES,
        "cifar100_coarse": tuple(CIFAR100_SUPERCLASSES),
        "digits": tuple("0123456789"),
    }[dataset]


def superclasses(dataset: str) -> Mapping[str, Sequence[str]]:
    """The superclasses of a dataset with their classes; empty for datasets without."""
    return CIFAR100_SUPERCLASSES if dataset == "cifar100" else {}


def expanded(classes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, with every superclass replaced by its classes."""
    return [member for name in classes for member in groups.get(name, (name,))]


def choose(
    classes: int | list[str],
    names: Sequence[str],
    subset_seed: int | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> list[int]:
    """The dataset's labels of the chosen classes, in the order of their new labels 0..K-1.

    Args:
        classes: a number K, or names of classes and superclasses.
        names: all class names, in the order of the dataset's labels.
        subset_seed: None for the first K classes, else for the first K of a random order, so that with one seed a
            smaller subset is a part of a larger one.
        groups: the superclasses with their classes, see `superclasses`.

    Raises:
        UserError: there are more classes than the dataset has, fewer than two, or an unknown or repeated one; or both
            names and a `subset_seed` are given.
    """
    if isinstance(classes, int):
        if classes > len(names):
            raise UserError(
                f"classes = {classes}: the dataset has {len(names)} classes; allowed are 2 to {len(names)}, or names; "
                f"-S classes={len(names)} takes all"
            )
        if subset_seed is None:
            return list(range(classes))
        from src.core.seeds import generator  # imports numpy, which the stage `inputs` seldom needs

        return generator(subset_seed, "classes").permutation(len(names))[:classes].tolist()
    if subset_seed is not None:
        raise UserError(
            f"subset_seed = {subset_seed}: classes names them already; set it to null, or classes to a number"
        )
    return _labels(classes, names, groups or {})


def _labels(classes: list[str], names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[int]:
    """The labels of named classes and superclasses, whose accents may be composed or not."""
    labels = {unicodedata.normalize("NFC", name): label for label, name in enumerate(names)}
    chosen = [unicodedata.normalize("NFC", name) for name in expanded(classes, groups)]
    for name in chosen:
        alike = [other for other in _read_alike(name, names) if other != name]
        if name in labels and alike:
            raise UserError(
                f"classes: DVC reads {name} and {alike[0]}, both classes of the dataset, as the same value, so that it "
                "would not notice a change from one to the other; rename the folder of one"
            )
        if alike:
            raise UserError(
                f"classes: {name!r} is not a class of the dataset, but {alike[0]!r} is, which YAML reads as the same "
                f"value; quote it: classes=['{alike[0]}']"
            )
        if name not in labels:
            raise UserError(f"classes: {name!r} is not a class of the dataset; {_allowed(name, names, groups)}")
    if len(set(chosen)) < len(chosen):
        hint = " (a superclass names all of its classes)" if set(classes) & set(groups) else ""
        raise UserError(f"classes = {classes}: a class is named twice{hint}; name each once")
    if len(chosen) < 2:
        raise UserError(f"classes = {classes}: one class alone; allowed are two or more, or a superclass")
    return [labels[name] for name in chosen]


def _read_alike(name: str, names: Sequence[str]) -> list[str]:
    """The names that YAML reads as the same value as a name, where that is no text: 7 and 007, 1e3 and 1000.0."""
    value = _value(name)
    if isinstance(value, str):
        return []
    return [other for other in names if type(_value(other)) is type(value) and _value(other) == value]


def _value(name: str) -> Any:
    """What YAML makes of a name that is not quoted."""
    from ruamel.yaml import YAML  # by which DVC reads params.yaml
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(name)
    except (YAMLError, ValueError):
        return name


def _allowed(name: str, names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """The end of an error about an unknown class: similar names, and the first `SHOWN` names."""
    every = [*names, *groups]
    more = f", and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return f"{did_you_mean(name, every, 3)}allowed are {', '.join(every[:SHOWN])}{more}"
