"""Fetch the weights that each backbone starts from, and save them as safetensors."""

from torch import Tensor

from src.core import seeds
from src.core.design import ROLES
from src.core.errors import UserError
from src.nets import models, state_dicts, weights, zoo_timm
from src.nets.architectures import TIMM
from src.settings.backbones import every, setting
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def load_weights(setting: str, arch: str, source: str, *, sha256: str | None, seed: int) -> dict[str, Tensor]:
    """The state_dict that a setting names, checked against its architecture; without a head if it has none.

    Args:
        setting: for people, with its value: `resnet.weights = imagenet`.
        source: see `nets.weights`.
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
        raise UserError(f"{setting}: {error}") from error
    for line in lines:
        print(f"{setting}: {line}")
    return state


def main(settings: Settings) -> None:
    hashes = files.read_json(paths.WEIGHT_INPUTS)
    seed = seeds.derive(settings.seeds[0], "weights")
    backbones = every(settings.backbones, settings.resnet, settings.convnext)
    (files.write_empty if set(backbones) == set(ROLES) else files.empty_folder)(paths.DATA / "weights" / paths.FURTHER)
    for name, backbone in backbones.items():
        arch, source = backbone.arch, backbone.weights
        state = load_weights(setting(name, backbone), arch, source, sha256=hashes[name], seed=seed)
        files.write_tensors(paths.weights(name), state, {"arch": arch, "weights": source})


if __name__ == "__main__":
    run(main)
