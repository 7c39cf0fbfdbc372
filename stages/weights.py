"""The weights that each backbone starts from, pinned as safetensors."""

from torch import Tensor

from src import files, intact, models, seeds, timm_nets
from src import weights as sources
from src.architectures import TIMM
from src.errors import UserError
from src.params import Settings
from stages import run


def pin(role: str, arch: str, weights: str, *, sha256: str | None, seed: int) -> dict[str, Tensor]:
    """The state_dict that the setting `<role>.weights` names, checked against its architecture."""
    try:
        if weights == "imagenet" and arch.startswith(TIMM):
            return timm_nets.published(arch, files.downloads(), seed)
        path = sources.locate(arch, weights, files.from_root(weights), files.downloads())
        if path is None:
            return models.build(arch, outputs=1000, seed=seed).state_dict()
        if sha256 is not None and intact.sha256(path) != sha256:
            raise UserError(f"{path} changed while the pipeline ran; run it again")
        return models.restore(arch, sources.read(path)).state_dict()
    except UserError as error:
        raise UserError(f"{role}.weights = {weights}: {error}") from error


def main(settings: Settings) -> None:
    pinned = files.read_json(files.WEIGHT_INPUTS)
    seed = seeds.derive(settings.seed, "weights")
    about = {"arch": settings.resnet.arch, "weights": settings.resnet.weights}
    state = pin("resnet", **about, sha256=pinned["resnet"], seed=seed)
    files.write_tensors(files.RESNET_WEIGHTS, state, about)
    about = {"arch": settings.convnext.arch, "weights": settings.convnext.weights}
    state = pin("convnext", **about, sha256=pinned["convnext"], seed=seed)
    files.write_tensors(files.CONVNEXT_WEIGHTS, state, about)


if __name__ == "__main__":
    run(main)
