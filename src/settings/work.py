"""How many images the networks of an experiment see, for estimates of time."""

from dataclasses import dataclass

from src.settings.settings import Settings


@dataclass(frozen=True)
class Images:
    """Images of an experiment under one seed; `embed` are those that any seed reads, for frozen networks."""

    train: int
    val: int
    test: int
    embed: int


@dataclass(frozen=True)
class Passes:
    """Images that are trained on, and that are watched after the epochs, over some trainings."""

    train: int
    watch: int


@dataclass(frozen=True)
class Work:
    """Images that one backbone sees: `embed` once, in the search, in all trainings, and for the test over all seeds."""

    embed: int
    search: Passes
    finetune: Passes
    test: int


def expected(settings: Settings, per_class: int, tested: int) -> Images:
    """What to expect of a data set with so many training and test images of a class, as seeds choose at random."""
    prepare, count = settings.prepare, len(settings.seeds)
    classes = settings.classes if isinstance(settings.classes, int) else len(settings.classes)
    used = per_class if prepare.per_class == "all" else min(per_class, prepare.per_class)
    held_out = round(used * prepare.val_fraction)
    train, val = (min(part, prepare.shots or part) for part in (used - held_out, held_out))
    read = per_class * (1 - (1 - (train + val) / per_class) ** count)
    return Images(train * classes, val * classes, tested * classes, round(classes * (read + tested)))


def work(settings: Settings, images: Images) -> Work:
    """What one backbone that is frozen and fine-tuned has to see."""
    finetune, configurations = settings.finetune, settings.tune.configurations
    trainings = len(settings.seeds) * len(finetune.methods)
    watched = images.val if finetune.watch == "validation" else images.test

    def passes(trainings: int, watched: int) -> Passes:
        return Passes(trainings * finetune.epochs * images.train, trainings * finetune.epochs * watched)

    search = passes(configurations if configurations > 1 else 0, images.val)
    return Work(images.embed, search, passes(trainings, watched), trainings * images.test)
