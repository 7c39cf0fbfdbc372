"""The published values: whole images, five epochs, and the source."""

import pytest

from src.reproduction import published as module
from src.reproduction.published import BAR_IMAGES, published
from src.storage import files


@pytest.mark.parametrize(
    ("kind", "images"), [("validation_accuracy", "validation_images"), ("train_accuracy", "train_images")]
)
def test_every_accuracy_is_a_whole_number_of_images(kind, images):
    values = files.read_json(module.FILE)
    for k, curve in values[kind].items():
        counts = [accuracy * values[images][k] for accuracy in curve]
        assert counts == pytest.approx([round(count) for count in counts], abs=1e-6)


def test_every_curve_has_a_value_for_each_epoch_and_class_count():
    report = published()
    assert "hjhoon03/20242R0136COSE47402" in report.source
    for curves in report.curves.values():
        assert {k: len(curve) for k, curve in curves.items()} == {2: 5, 5: 5, 10: 5}
    assert report.images == {2: 2000, 5: 5000, 10: 10000}


def test_the_bars_are_counts_of_the_images_of_two_classes():
    report = published()
    assert (report.bars, report.head) == ({2: 1950, 5: 1823, 10: 1752}, 1055)
    assert all(isinstance(count, int) and count <= BAR_IMAGES for count in (*report.bars.values(), report.head))
