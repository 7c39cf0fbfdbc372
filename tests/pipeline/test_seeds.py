"""Several seeds in one experiment: each gives what it gives alone, and what no seed decides is computed once."""

import pytest

PREDICTIONS = ("data/predictions/resnet", "data/predictions/convnext")


def predictions(clone, seed: int) -> dict[str, bytes]:
    """The files of predictions and of fitted weights under one seed."""
    found = [path for folder in PREDICTIONS for path in (clone.folder / folder / f"seed{seed}").rglob("*.npz")]
    return {str(path.relative_to(clone.folder)): path.read_bytes() for path in found}


@pytest.mark.slow
def test_two_seeds_in_one_experiment_are_two_experiments_of_one_seed_to_the_byte(smallest, copy_of):
    clone = copy_of(smallest)
    alone = {0: predictions(clone, 0)}
    clone.configure(seeds=[1])
    clone.dvc("repro", "eval_resnet", "eval_convnext")
    alone[1] = predictions(clone, 1)
    clone.configure(seeds=[0, 1])
    said = clone.dvc("repro", "eval_resnet", "eval_convnext")
    for seed, files in alone.items():
        assert len(files) == 3  # of both arms, and the weights of the linear probe
        assert predictions(clone, seed) == files
    assert list(alone[0].values()) != list(alone[1].values())
    # Nor do weights change, but the first seed would draw random ones.
    assert "Stage 'download' didn't change, skipping" in said
    assert "features each: 0 embedded" in said
