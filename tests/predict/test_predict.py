"""One's own photos get the answers that the experiment's images get; what cannot be answered is said in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.special import softmax

from src.core.errors import UserError
from src.data import decode
from src.predict import __main__ as predict
from src.predict import arm as arms
from src.predict import photos
from src.records.compare import Comparison
from src.records.evaluate import CalibratedScores, Evaluation
from src.settings.settings import load
from src.storage import files, paths
from tests.helpers import toy_experiment
from tests.helpers.toy_experiment import CLASSES, SEEDS
from tests.helpers.toy_records import evaluation


@pytest.fixture
def photo(experiment, tmp_path):
    """The first test image as a file."""
    path = tmp_path / "photo.png"
    Image.fromarray(experiment.raw["test"][experiment.subsets[0]["test_index"][0]]).save(path)
    return path


@pytest.mark.parametrize("seed", [None, *SEEDS])
@pytest.mark.parametrize("name", ["resnet.full", "convnext.linear", "convnext.knn"])
def test_a_test_image_gets_the_answer_that_the_experiment_gave_it(experiment, tmp_path, name, seed):
    index = experiment.subsets[0]["test_index"][:5]
    given = [tmp_path / f"{number}.png" for number in index]
    for path, number in zip(given, index, strict=True):
        Image.fromarray(experiment.raw["test"][number]).save(path)
    arm = arms.find(name, [] if seed is None else [seed])
    found = [dict(answered.classes) for answered in photos.answered(arm, load(), given, arms.side(), [])]
    chosen = SEEDS if seed is None else (seed,)
    scaled = [
        experiment.predictions[name][each].logits[:5].astype(float)
        / experiment.evaluations[name][each].calibrated.temperature
        for each in chosen
    ]
    expected = softmax(np.mean(scaled, axis=0), axis=1)
    np.testing.assert_allclose([[row[each] for each in CLASSES] for row in found], expected, atol=1e-4)


def test_a_photo_is_cut_and_resized_as_an_image_of_a_folder_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 4), np.uint8)  # with transparency
    path = tmp_path / "photo.png"
    Image.fromarray(pixels, "RGBA").save(path)
    shown, seen = photos.pictures(path, 32, [])
    np.testing.assert_array_equal(seen, next(decode.decode_images([path], 32))[0])
    assert shown.size == (90, 60)


def test_the_first_arm_of_the_question_answers(photo, capsys):
    predict.main([str(photo)])
    out = capsys.readouterr().out
    assert out.startswith("resnet.full: resnet18, fine-tuned, 3 classes\n")
    assert re.search(r"photo\.png  .+ \(\d+\N{NARROW NO-BREAK SPACE}%\), .+ \(", out)
    assert "plots/predict.html" in out


def test_the_output_says_how_far_answers_can_be_trusted(experiment, photo, capsys):
    predict.main([str(photo), "--arm", "convnext.linear"])
    out = capsys.readouterr().out
    fitted = [each.calibrated.temperature for each in experiment.evaluations["convnext.linear"].values()]
    assert 1 not in fitted
    assert f"temperatures {', '.join(f'{t:.2f}' for t in fitted)}, fitted on validation images." in out
    predictions = experiment.predictions["convnext.linear"].values()
    logits = sum(predicted.logits / t for predicted, t in zip(predictions, fitted, strict=True))
    right = (logits.argmax(1) == experiment.subsets[0]["test_labels"]).mean()
    assert f"right on {100 * right:.1f}\N{NARROW NO-BREAK SPACE}% [" in out
    assert "of the 40 test images" in out


def calibrated(temperature: float) -> Evaluation:
    return evaluation(calibrated=CalibratedScores(temperature=temperature, nll=1.0, brier=0.5, ece=0.1))


def test_the_mean_is_that_of_calibrated_logits():
    saved = {0: {}, 1: {}}
    arm = arms.Arm("a.full", "a", ["x", "y"], {0: calibrated(2.0), 1: calibrated(0.5)}, saved, None)
    found = arm.probabilities({0: np.array([[2.0, 0.0]]), 1: np.array([[0.0, 0.5]])})
    np.testing.assert_allclose(found, softmax([[0.5, 0.5]], axis=1))
    np.testing.assert_allclose(arm.of(1).probabilities({1: np.array([[0.0, 0.5]])}), softmax([[0.0, 1.0]], axis=1))


def test_networks_without_a_temperature_are_not_called_calibrated():
    saved = {0: {"logits": np.eye(2), "labels": np.array([0, 1])}}
    comparison = Comparison.model_construct(confidence=0.95)
    (first, *_) = predict.describe(arms.Arm("a.full", "a", ["x", "y"], {0: calibrated(1.0)}, saved, comparison))
    assert first == (
        "The confidences are those of seed 0, as the network gives them "
        "(temperature 1, as none was fitted or helped on validation images)."
    )


def test_a_class_that_an_arm_never_answers_has_no_confidence():
    logits = np.array([[0.0, -np.inf], [1.0, -np.inf]])
    saved = {0: {"logits": logits, "labels": np.array([0, 1])}}
    comparison = Comparison.model_construct(confidence=0.95)
    quality = arms.Arm("a.zero_shot", "a", ["x", "y"], {0: calibrated(1.0)}, saved, comparison).quality()
    assert (quality.n, quality.accuracy.value, quality.ece) == (2, 0.5, 0)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no images; name files or folders"),
        (["empty"], "no images in empty"),
        (
            ["photo.png", "--arm", "resnet.ful"],
            "resnet.ful: no such arm; did you mean resnet.full? this",
        ),
        (["photo.png", "--arm", "resnet.linear"], "resnet.linear: no such arm"),
        (["photo.png", "--arm", "convnext.zero_shot"], "no such arm (no category of digits)"),
        (["photo.png", "--seed", "7"], "seed 7: this experiment has 0, 1"),
        (["absent.png"], "1 of 1 files were left out: absent.png does not exist"),
        (["x" * 300], " cannot be read as an image (File name too long)"),
        (["loop"], "loop/again is a link to a folder that holds it; remove it"),
        (["notes.txt"], "notes.txt cannot be read as an image (not an image, cut short"),
        (["cut.png"], "cut.png cannot be read as an image"),
    ],
)
def test_what_cannot_be_answered_is_one_line(photo, words, line):
    for name, content in {"notes.txt": b"text", "cut.png": photo.read_bytes()[:-30]}.items():
        Path(name).write_bytes(content)
    photo.rename("photo.png")
    Path("empty").mkdir(exist_ok=True)
    Path("loop").mkdir(exist_ok=True)
    if not Path("loop/again").is_symlink():
        Path("loop/again").symlink_to("../loop")
    with pytest.raises(UserError) as error:
        predict.main(words)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert "folder:" not in str(error.value)


def test_files_that_are_no_images_are_left_out_and_named_when_all_others_are_answered(photo, tmp_path, capsys):
    folder, page = tmp_path / "photos", tmp_path / "page.html"
    folder.mkdir()
    (folder / "good.png").write_bytes(photo.read_bytes())
    (folder / "cut.png").write_bytes(photo.read_bytes()[:-30])
    (folder / "film.mov").write_bytes(b"film")
    with pytest.raises(UserError, match=r"2 of 3 files were left out: .*cut.png .*; .*page.html names all"):
        predict.main([str(folder), "--page", str(page)])
    assert "good.png" in capsys.readouterr().out
    html = page.read_text()
    assert html.count("data:image/jpeg") == 1
    assert html.count("Left out: ") == 2


def test_without_an_experiment_the_line_says_what_makes_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("{}")
    Path("photo.png").touch()
    with pytest.raises(UserError, match=r"no finished experiment .*compare.json is missing.*`make repro`.*`make demo`"):
        predict.main(["photo.png"])


def test_a_checkpoint_that_is_gone_is_named(photo):
    path = paths.of_seed(paths.checkpoints("resnet"), 1) / "full.safetensors"
    moved = path.rename("moved")
    try:
        with pytest.raises(UserError, match=f"{path} is missing; .*`make repro` makes it"):
            predict.main([str(photo)])
    finally:
        moved.rename(path)


def test_settings_that_changed_since_are_noticed(photo):
    before = Path("params.yaml").read_text()
    Path("params.yaml").write_text(yaml.safe_dump(toy_experiment.SETTINGS | {"image_size": 64}))
    try:
        with pytest.raises(UserError, match=r"convnext.linear, seed 0: its network answers test images otherwise"):
            predict.main([str(photo), "--arm", "convnext.linear"])
    finally:
        Path("params.yaml").write_text(before)


def test_the_page_shows_every_photo_and_loads_nothing(photo, tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b.png", "deep/<img src=x>.png", ".hidden/x.png", ".DS_Store", "Thumbs.db", "a\udcff.png"):
        (folder / name).write_bytes(photo.read_bytes())
    given = photos.listed([folder])
    assert [path.relative_to(folder).as_posix() for path in given] == ["a\udcff.png", "b.png", "deep/<img src=x>.png"]
    page = tmp_path / "pages" / "page.html"
    predict.main([str(folder), "--page", str(page)])
    html = page.read_text()
    assert html.count("data:image/jpeg") == html.count("data:image/png") == 3
    assert "<img src=x>" not in html
    assert "/deep/&lt;img src=x&gt;.png</bdi>" in html
    assert "<two>" not in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)


@pytest.mark.usefixtures("experiment")
def test_the_arms_are_those_that_were_evaluated():
    comparison = files.read_record(paths.record("compare"), Comparison)
    known, titles = arms.evaluated(comparison)
    assert set(known) == {"resnet.full", "convnext.linear", "convnext.knn"}
    assert all(list(by_seed) == [0, 1] for by_seed in known.values())
    assert titles["convnext.knn"] == "efficientnet_lite0, frozen, k-NN"
    assert arms.find("convnext.frozen").name == "convnext.linear"
