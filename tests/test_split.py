"""A folder of classes becomes one of train and test, by links; nothing is lost, and bad input is one line."""

import pytest

from src import split
from src.core.errors import UserError
from src.data import folders


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "my photos"
    for name in ("cat", "dog"):
        (root / name / "a b").mkdir(parents=True)
        for number in range(8):
            (root / name / ("a b" if number % 2 else "") / f"{number}.jpg").write_text(f"{name} {number}")
        (root / name / ".DS_Store").touch()
    (root / "@eaDir").mkdir()
    (root / "@eaDir" / "thumbnail.jpg").touch()
    return root


def test_every_image_is_in_one_part_and_the_stage_inputs_takes_them(photos, capsys):
    split.main([str(photos)])
    out = photos.with_name("my photos-split")
    parts = {part: {path.read_text() for path in (out / part).rglob("*.jpg")} for part in ("train", "test")}
    assert len(parts["test"]) == 4
    assert len(parts["train"] | parts["test"]) == len(parts["train"]) + 4 == 16
    assert folders.class_names(out) == ["cat", "dog"]
    assert capsys.readouterr().out.endswith(f"-S folder={out} -S classes=2\n")
    split.main([str(photos), "--out", str(out.with_name("again"))])
    again = {path.read_text() for path in (out.with_name("again") / "test").rglob("*.jpg")}
    assert again == parts["test"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{}", "--test", "1"], "--test 1.0: allowed is a share between 0 and 1"),
        (["{}/cat"], "cat: allowed is a folder of <class>/**"),
        (["{}/absent"], "absent: allowed is a folder of <class>/**"),
        (["{}", "--out", "{}"], "exists; remove it, or name another"),
    ],
)
def test_what_cannot_be_split_is_one_line(photos, words, line):
    with pytest.raises(UserError) as error:
        split.main([word.format(photos) for word in words])
    assert line in str(error.value)


def test_a_class_of_one_image_is_refused(photos):
    (photos / "eel").mkdir()
    (photos / "eel" / "x.jpg").touch()
    with pytest.raises(UserError, match="eel: 1 files; train/ and test/ need one each"):
        split.main([str(photos)])
