"""Records are read as they were written, refuse what is none, and give a few numbers to DVC."""

import pytest

from src.core.errors import UserError
from src.core.records import Interval, Record, mean
from src.records.evaluate import Evaluations
from src.records.finetune import Training, Trainings
from src.records.tune import SearchSummaries
from src.storage import files
from tests.helpers.toy_records import evaluation


class Part(Record):
    share: float
    title: str


class Whole(Record):
    count: int
    gap: Interval
    part: Part
    by_name: dict[str, Part]
    rows: list[Part]
    cells: dict[str, str]
    environment: dict[str, str | int]
    missing: float | None = None


PART = Part(share=0.5, title="half")
WHOLE = Whole(
    count=2,
    gap=Interval(0.1, -0.1, 0.3),
    part=PART,
    by_name={"a": PART},
    rows=[PART],
    cells={"resnet.frozen": "resnet.linear"},
    environment={"torch": "2", "threads": 2},
)


def test_a_record_is_read_as_it_was_written(tmp_path):
    files.write_record(tmp_path / "whole.json", WHOLE)
    assert files.read_record(tmp_path / "whole.json", Whole) == WHOLE
    assert files.read_optional_record(tmp_path / "whole.json", Whole) == WHOLE
    assert "missing" not in files.read_json(tmp_path / "whole.json")


@pytest.mark.parametrize("text", ["{}", '{"share": "0.5", "title": "half"}', '{"share": 0.5, "title": "half", "x": 1}'])
def test_what_is_no_such_record_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "part.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"part\.json is damaged \(.*\); `dvc repro` makes it again") as error:
        files.read_record(path, Part)
    assert "\n" not in str(error.value)


def test_a_stage_that_is_off_leaves_no_record(tmp_path):
    files.write_empty(tmp_path / "tune.json")
    assert files.read_optional_record(tmp_path / "tune.json", Part) is None
    assert files.read_record(tmp_path / "tune.json", SearchSummaries) == SearchSummaries()


class Result(Record):
    share: float
    images: int
    title: str
    good: bool
    best: Part
    table: list[list[int]]
    curve: list[dict[str, float]]
    parts: list[Part]
    costs: dict[str, int]
    missing: float | None = None


def result(share: float, images: int, **changes: object) -> Result:
    fields = {
        "title": f"of {images}",
        "good": True,
        "best": Part(share=share, title="best"),
        "table": [[images, 0], [1, 2]],
        "curve": [{"number": 1, "loss": share}, {"number": 2, "loss": 2 * share}],
        "parts": [Part(share=share, title="cat"), Part(share=1.0, title="dog")],
        "costs": {"macs": images},
    }
    return Result(share=share, images=images, **fields | changes)


def test_the_mean_of_records_averages_numbers_and_adds_tables():
    whole = mean([result(0.25, 3), result(0.5, 3), result(0.75, 6)])
    assert (whole.share, whole.images, whole.best.share) == (0.5, 4, 0.5)
    assert (whole.title, whole.good, whole.missing) == ("of 3", True, None)
    assert whole.table == [[12, 0], [3, 6]]
    assert whole.curve == [{"number": 1, "loss": 0.5}, {"number": 2, "loss": 1.0}]
    assert whole.parts == [Part(share=0.5, title="cat"), Part(share=1.0, title="dog")]
    assert whole.costs == {"macs": 4}


def test_the_mean_of_one_record_is_that_record_and_of_equal_ones_is_equal_but_for_tables():
    one = result(0.5, 3)
    assert mean([one]) is one
    assert mean([one, one]) == one.model_copy(update={"table": [[6, 0], [2, 4]]})


def test_whole_numbers_that_agree_stay_whole():
    assert [type(mean([result(0.5, count), result(0.5, 4)]).images) for count in (4, 5)] == [int, int]


def test_a_curve_that_ended_early_is_no_part_of_a_mean_curve():
    """Epochs have no counterparts there, so the first seed's curve stands."""
    short = result(0.5, 3, curve=[{"number": 1, "loss": 9.0}])
    assert mean([result(0.25, 3), short]).curve == result(0.25, 3).curve


def test_an_arm_is_the_mean_of_its_seeds():
    seeds = {"0": {"linear": evaluation(accuracy=0.5)}, "7": {"linear": evaluation(accuracy=0.75)}}
    arm = Evaluations(seeds=seeds).arms["linear"]
    assert (arm.accuracy, arm.n, arm.confusion) == (0.625, 60, [[120]])
    assert Evaluations().arms == Evaluations().numbers() == {}


def test_a_cell_gives_the_accuracies_of_its_first_arm_to_dvc():
    arms = {"linear": evaluation(accuracy=0.5, val_accuracy=0.25), "knn": evaluation(accuracy=0.75, val_accuracy=None)}
    assert Evaluations(seeds={"0": arms}).numbers() == {"linear": {"accuracy": 0.5, "val_accuracy": 0.25}}
    assert Evaluations(seeds={"0": {"knn": arms["knn"]}}).numbers() == {"knn": {"accuracy": 0.75}}


def training(accuracy: float, epoch: int) -> Training:
    history = [{"number": 1.0, "val_accuracy": accuracy}]
    cost = {"trained_parameters": 1, "images": 64, "train_seconds": 2.0, "train_images_per_second": 32.0}
    more = {"train_macs": 10, "peak_memory": 5, "environment": {"torch": "2"}}
    said = {"val_accuracy": accuracy, "convergence": "settled"}
    return Training(best_epoch=epoch, history=history, **said, **cost, **more)


def test_a_methods_training_is_the_mean_of_its_seeds():
    trained = Trainings(seeds={"0": {"full": training(0.5, 1)}, "1": {"full": training(0.75, 3)}}).methods["full"]
    assert (trained.val_accuracy, trained.best_epoch) == (0.625, 2)
    assert trained.history == [{"number": 1.0, "val_accuracy": 0.625}]
    assert Trainings(seeds={"0": {"full": training(0.5, 1)}}).numbers() == {"full": {"val_accuracy": 0.5}}
