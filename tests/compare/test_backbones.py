"""More than two backbones: the table of all, the declared contrasts against brute force, and what is said of them."""

import numpy as np
import pytest
from scipy import stats

from src.compare import figures, results
from src.compare.config import Compare
from src.compare.results import Listed
from src.records.backbones import FurtherBackbone, FurtherBackbones
from src.records.compare import Comparison
from src.records.evaluate import Evaluations
from src.settings.settings import Settings
from src.storage import files, paths
from stages import compare
from tests.helpers.toy_records import evaluation

SEEDS, IMAGES = 4, 150
NAMES = {"resnet": "resnet18", "small": "small@random", "wide": "wide", "convnext": "convnext_tiny"}
LABELS = np.arange(IMAGES) % 3
CONTRASTS = {"size": ["wide", "resnet18"], "recipe": ["wide", "small@random"], "again": ["wide", "resnet18"]}
REACHED = {"resnet": 0.5, "small": 0.55, "wide": 0.75, "convnext": 0.7}


def arms() -> dict[str, results.Arm]:
    """Every backbone frozen and fine-tuned; images differ in how hard they are, and seeds in how good they are."""
    rng = np.random.default_rng(0)
    hard, made = rng.normal(size=IMAGES), {}
    for name, reached in REACHED.items():
        own = hard + rng.normal(size=IMAGES)
        for adaptation, shift in (("full", 0.1), ("linear", 0.0)):
            noise = rng.normal(size=(SEEDS, IMAGES)) + 0.4 * rng.normal(size=(SEEDS, 1))
            right = own + noise < 2 * stats.norm.ppf(reached + shift)
            logits = np.eye(3, dtype=np.float32)[np.where(right, LABELS, (LABELS + 1) % 3)]
            each = [evaluation(parameters=len(name)) for _ in range(SEEDS)]
            made[f"{name}.{adaptation}"] = results.Arm(
                f"{NAMES[name]}, {adaptation}", logits, LABELS, np.arange(IMAGES), each
            )
    return made


ARMS = arms()
ROLES = {name: arm for name, arm in ARMS.items() if name.startswith(("resnet", "convnext"))}


def report(listed: Listed | None, **config) -> Comparison:
    return results.report(ROLES, range(SEEDS), ["a", "b", "c"], {}, Compare(**config), listed=listed)


@pytest.fixture(scope="module")
def result() -> Comparison:
    return report(Listed(NAMES, ARMS), contrasts=CONTRASTS)


def right(name: str) -> np.ndarray:
    return (ARMS[name].logits.argmax(-1) == LABELS).astype(float)


def brute_force(first: str, second: str) -> tuple[float, float, float]:
    """Value, standard error and p of the contrast, from the table of seeds x images with its two pseudo-images.

    The expected mean squares of a two-way table (Searle, Casella and McCulloch 1992, section 4.5), and Satterthwaite's
    degrees of freedom of their sum.
    """
    value = (
        right(f"{first}.linear") + right(f"{first}.full") - right(f"{second}.linear") - right(f"{second}.full")
    ) / 2
    table = np.concatenate([value, np.tile([1.0, -1.0], (SEEDS, 1))], axis=1)
    seeds, images = table.shape
    by_seed, by_image, mean = table.mean(1, keepdims=True), table.mean(0, keepdims=True), table.mean()
    squares = [
        images * ((by_seed - mean) ** 2).sum() / (seeds - 1),
        seeds * ((by_image - mean) ** 2).sum() / (images - 1),
        ((table - by_seed - by_image + mean) ** 2).sum() / ((seeds - 1) * (images - 1)),
    ]
    assert squares[0] > squares[2] < squares[1]  # no part of the variance is estimated below 0
    variance = (squares[0] + squares[1] - squares[2]) / (seeds * images)
    free = (seeds - 1, images - 1, (seeds - 1) * (images - 1))
    df = (squares[0] + squares[1] - squares[2]) ** 2 / sum(
        part**2 / count for part, count in zip(squares, free, strict=True)
    )
    return value.mean(), variance**0.5, 2 * stats.t.sf(abs(mean) / variance**0.5, df)


@pytest.mark.parametrize(("name", "pair"), [("size", ("wide", "resnet")), ("recipe", ("wide", "small"))])
def test_a_contrast_is_the_mean_of_both_columns_by_brute_force(result, name, pair):
    contrast, (value, se, _) = result.contrasts[name], brute_force(*pair)
    assert contrast.difference.value == pytest.approx(value)
    assert contrast.se == pytest.approx(se, rel=0.02)
    assert contrast.weights == {
        f"{backbone}.{adaptation}": half
        for backbone, half in zip(pair, (0.5, -0.5), strict=True)
        for adaptation in ("linear", "full")
    }


def test_the_contrasts_are_a_family_whose_p_are_adjusted_by_holm(result):
    """Of three, two have the same smallest p, so both are multiplied by 3; the last one stays."""
    alone = {
        name: report(Listed(NAMES, ARMS), contrasts={name: CONTRASTS[name]}).contrasts[name].p
        for name in ("size", "recipe")
    }
    assert alone["recipe"] == pytest.approx(brute_force("wide", "small")[2], rel=0.2)
    assert alone["size"] == pytest.approx(brute_force("wide", "resnet")[2], rel=0.2)
    assert alone["size"] < alone["recipe"]
    adjusted = {name: contrast.p for name, contrast in result.contrasts.items()}
    expected = {
        "size": 3 * alone["size"],
        "recipe": max(alone["recipe"], 3 * alone["size"]),
        "again": 3 * alone["size"],
    }
    assert adjusted == pytest.approx(expected)


def test_the_table_has_every_backbone_in_the_order_of_the_list_with_both_columns(result):
    assert [row.name for row in result.backbones] == list(NAMES.values())
    wide = result.backbones[2]
    assert (wide.frozen_arm, wide.finetuned_arm) == ("wide.linear", "wide.full")
    assert wide.frozen.value == pytest.approx(right("wide.linear").mean())
    assert wide.finetuned.value == pytest.approx(right("wide.full").mean())
    assert wide.frozen.low < wide.frozen.value < wide.frozen.high
    assert wide.parameters == 4
    columns, rows = results.tables(result)["backbones"]
    assert columns[:4] == ("backbone", "adaptation", "arm", "accuracy")
    assert [row[:3] for row in rows[:2]] == [
        ("resnet18", "frozen", "resnet.linear"),
        ("resnet18", "finetuned", "resnet.full"),
    ]


def test_a_role_has_the_same_numbers_in_both_tables(result):
    assert result.backbones[0].frozen == result.arm("resnet.linear").accuracy
    assert result.backbones[3].finetuned == result.arm("convnext.full").accuracy


def test_what_the_two_roles_say_does_not_change_with_the_list(result):
    without = report(None)
    assert (without.backbones, without.contrasts) == ([], {})
    same = result.model_copy(update={"backbones": [], "contrasts": {}, "verdict": without.verdict})
    assert same == without
    assert [line for line in result.verdict if "declared" not in line] == without.verdict
    assert "backbones" not in results.tables(without)


def test_the_verdict_the_terminal_and_the_metrics_name_every_contrast(result):
    (sentence,) = [line for line in result.verdict if "declared" in line]
    size = result.contrasts["size"]
    assert sentence.startswith(
        "The 3 declared contrasts of backbones, with p after Holm: size, wide less resnet18, mean of frozen and "
        f"fine-tuned: {100 * size.difference.value:+.1f} points (95% interval "
    )
    assert "; recipe, wide less small@random, mean of" in sentence
    assert size.word == "ahead"
    assert ", ahead; recipe" in sentence
    printed = results.render(result).splitlines()
    assert any(line.split()[:3] == ["small@random", "5", f"{right('small.linear').mean():.4f}"] for line in printed)
    assert any(line.startswith("size, wide less resnet18, mean of frozen and fine-tuned: +") for line in printed)
    assert result.numbers()["contrasts"]["size"] == size.difference.value


def test_of_one_seed_the_contrasts_are_of_these_networks_alone():
    one = {
        name: results.Arm(arm.title, arm.logits[:1], arm.labels, arm.index, arm.evaluations[:1])
        for name, arm in ARMS.items()
    }
    roles = {name: one[name] for name in ROLES}
    config = Compare(contrasts={"size": CONTRASTS["size"]})
    told = results.report(roles, [0], ["a", "b", "c"], {}, config, listed=Listed(NAMES, one))
    (sentence,) = [line for line in told.verdict if "declared" in line]
    assert sentence.startswith("The 1 declared contrast of backbones, of these networks alone, with p after Holm: size")
    assert told.contrasts["size"].word == "not settled"


def test_every_backbone_is_drawn_frozen_and_fine_tuned(result):
    drawn = figures.all_figures(ROLES, result)["backbones"]
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert labels == [f"{name}, {words}" for name in NAMES.values() for words in ("frozen", "fine-tuned")]


def left(cell: str, adaptation: str) -> Evaluations:
    """What evaluating a cell leaves under two seeds: predictions, and the evaluations that are returned."""
    arm = ARMS[f"{cell.split('.')[0]}.{adaptation}"]
    for seed in (0, 1):
        arrays = {"logits": arm.logits[seed], "labels": LABELS, "index": np.arange(IMAGES)}
        files.write_arrays(paths.of_seed(paths.predictions(cell), seed) / f"{adaptation}.npz", **arrays)
    return Evaluations(seeds={str(seed): {adaptation: evaluation()} for seed in (0, 1)})


def test_the_stage_reads_the_roles_arms_for_their_entries_and_the_others_from_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for role in ("resnet", "convnext"):
        for column, adaptation in (("finetuned", "full"), ("frozen", "linear")):
            cell = f"{role}.{column}"
            files.write_record(paths.record(paths.cell_name(cell)), left(cell, adaptation))
    monkeypatch.setitem(ARMS, "resnet50-random.full", ARMS["wide.full"])
    monkeypatch.setitem(ARMS, "resnet50-random.linear", ARMS["wide.linear"])
    found = FurtherBackbone(
        name="resnet50@random",
        frozen=left("resnet50-random.frozen", "linear"),
        finetuned=left("resnet50-random.finetuned", "full"),
    )
    files.write_record(paths.record("backbones"), FurtherBackbones(backbones={"resnet50-random": found}))
    settings = Settings.model_validate(
        {"seeds": [0, 1], "frozen": {"readouts": ["linear"]}, "backbones": ["resnet50@random", "resnet18"]}
    )
    roles, _ = compare.read_arms(settings)
    listed = compare.read_listed(settings, roles)
    assert listed.names == {"resnet50-random": "resnet50@random", "resnet": "resnet18"}
    assert set(listed.arms) == {"resnet.full", "resnet.linear", "resnet50-random.full", "resnet50-random.linear"}
    assert listed.arms["resnet.full"] is roles["resnet.full"]
    assert np.array_equal(listed.arms["resnet50-random.full"].logits, ARMS["wide.full"].logits[:2])
    assert listed.arms["resnet50-random.full"].title == "resnet50@random, fine-tuned"
    assert compare.read_listed(settings.model_copy(update={"backbones": None}), roles) is None
