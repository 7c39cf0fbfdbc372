"""What was embedded is shared: by queued and temporary experiments, and by clones that share a cache."""

import re

import pytest

pytestmark = pytest.mark.slow

STAGE = "embed_convnext"


def embedded(said: str) -> tuple[int, int]:
    """How many images a stage embedded, and how many features were there already."""
    (found,) = re.findall(r"features each: ([\d,]+) embedded, ([\d,]+) there already", said)
    return tuple(int(number.replace(",", "")) for number in found)


@pytest.fixture(scope="module")
def clone(make_clone):
    """A clone that has embedded 30 training images and all test images of 4 classes."""
    clone = make_clone()
    new, before = embedded(clone.dvc("repro", STAGE))
    assert before == 0
    assert 4 * 30 < new < 4 * 70
    clone.commit("results")
    return clone


def test_temporary_and_queued_experiments_embed_what_is_new_to_them(clone):
    new, before = embedded(clone.dvc("exp", "run", "--temp", "-S", "prepare.per_class=40", STAGE))
    assert new == 4 * 10
    clone.dvc("exp", "run", "--queue", "-S", "prepare.per_class=45", STAGE)
    new, more = embedded(clone.dvc("exp", "run", "--run-all"))
    assert (new, more) == (4 * 5, before + 4 * 10)
    assert embedded(clone.dvc("exp", "run", "-S", "prepare.per_class=44", STAGE)) == (0, more + 4 * 4)
    clone.git("checkout", "-q", ".")


def test_the_garbage_collection_of_dvc_leaves_what_was_embedded(clone):
    (path,) = (clone.folder / ".dvc/cache/features").glob("*.sqlite")
    before = path.read_bytes()
    clone.dvc("gc", "--workspace", "--force")
    assert path.read_bytes() == before
    assert embedded(clone.dvc("repro", "--force", "--no-run-cache", "--single-item", STAGE))[0] == 0


def test_clones_with_one_cache_share_it_and_one_that_saves_nothing_does_not(clone, make_clone):
    other = make_clone()
    other.dvc("cache", "dir", "--local", str(clone.folder / ".dvc/cache"))
    other.configure(classes=3)
    assert embedded(other.dvc("repro", STAGE))[0] == 0
    assert not (other.folder / ".dvc/cache").exists()
    other.configure(resume=False)
    assert embedded(other.dvc("repro", "--force", "--no-run-cache", "--single-item", STAGE))[1] == 0
