"""Fetch the weights that each backbone starts from, and save them as safetensors."""

from torch import Tensor

from src.core import seeds
from src.core.errors import UserError
from src.nets import models, state_dicts, weights, zoo_timm
from src.nets.architectures import TIMM
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def load_weights(role: str, arch: str, source: str, *, sha256: str | None, seed: int) -> dict[str, Tensor]:
    """The state_dict of the setting `<role>.weights`, checked against its architecture; without a head if it has none.

    Args:
        source: the value of the setting.
        sha256: of the file, as the stage `inputs` found it; None if the setting is not a file.
        seed: of random weights.

    Raises:
        UserError: the weights cannot be fetched or read, belong to another architecture, or changed meanwhile.
    """
    try:
        if source == "imagenet" and arch.startswith(TIMM):
            return zoo_timm.published(arch, paths.downloads(), seed)
        path = weights.locate(arch, source, paths.from_root(source), paths.downloads())
        if path is None:
            return models.build(arch, outputs=1000, seed=seed).state_dict()
        if sha256 is not None and files.sha256(path) != sha256:
            raise UserError(f"{path} changed while the pipeline ran; run it again")
        state, lines = state_dicts.adopt(arch, weights.read(path))
    except UserError as error:
        raise UserError(f"{role}.weights = {source}: {error}") from error
    for line in lines:
        print(f"{role}.weights = {source}: {line}")
    return state


def main(settings: Settings) -> None:
    hashes = files.read_json(paths.WEIGHT_INPUTS)
    seed = seeds.derive(settings.seeds[0], "weights")
    for role, backbone in (("resnet", settings.resnet), ("convnext", settings.convnext)):
        state = load_weights(role, backbone.arch, backbone.weights, sha256=hashes[role], seed=seed)
        files.write_tensors(paths.weights(role), state, {"arch": backbone.arch, "weights": backbone.weights})


if __name__ == "__main__":
    run(main)
