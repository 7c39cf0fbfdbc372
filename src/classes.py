"""The classes of each dataset by name, and which of them an experiment chose. For `inputs` and `prepare`."""

from collections.abc import Sequence
from pathlib import Path

from src import folders
from src.errors import UserError

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


def class_names(dataset: str, root: Path) -> tuple[str, ...]:
    """The names of a dataset's classes, in the order of its labels, without fetching anything."""
    if dataset == "folder":
        return tuple(folders.class_names(root))
    return {"cifar10": CIFAR10_CLASSES, "cifar100": CIFAR100_CLASSES, "digits": tuple("0123456789")}[dataset]


def choose(classes: int | list[str], names: Sequence[str], subset_seed: int | None = None) -> list[int]:
    """The dataset's labels of the chosen classes, in the order in which they become 0..K-1.

    Args:
        classes: K for K of the classes, or their names.
        names: all class names, in the order of the dataset's labels.
        subset_seed: None for the first K classes, else the first K of a random order: with one seed, a smaller subset
            is a part of a larger one.

    Raises:
        UserError: more classes than there are, an unknown or a repeated one, or names that a seed should draw.
    """
    if isinstance(classes, int):
        if classes > len(names):
            raise UserError(
                f"classes = {classes}: the dataset has {len(names)} classes; allowed are 2 to {len(names)}, or names"
            )
        if subset_seed is None:
            return list(range(classes))
        from src.seeds import generator  # numpy, which `inputs` seldom needs

        return generator(subset_seed, "classes").permutation(len(names))[:classes].tolist()
    if subset_seed is not None:
        raise UserError(
            f"subset_seed = {subset_seed}: classes names them already; set it to null, or classes to a number"
        )
    for name in classes:
        if name not in names:
            raise UserError(f"classes: {name!r} is not a class of the dataset; allowed are {', '.join(names)}")
    if len(set(classes)) < len(classes):
        raise UserError(f"classes = {classes}: a class is named twice; name each once")
    return [list(names).index(name) for name in classes]
