"""The weights that each backbone starts from, pinned as safetensors."""

from torch import Tensor

from src.core import seeds
from src.core.errors import UserError
from src.nets import models, zoo_timm
from src.nets import weights as nets_weights
from src.nets.architectures import TIMM
from src.settings.settings import Settings
from src.storage import files, paths
from stages import run


def pin(role: str, arch: str, weights: str, *, sha256: str | None, seed: int) -> dict[str, Tensor]:
    """The state_dict that the setting `<role>.weights` names, checked against its architecture."""
    try:
        if weights == "imagenet" and arch.startswith(TIMM):
            return zoo_timm.published(arch, paths.downloads(), seed)
        path = nets_weights.locate(arch, weights, paths.from_root(weights), paths.downloads())
        if path is None:
            return models.build(arch, outputs=1000, seed=seed).state_dict()
        if sha256 is not None and files.sha256(path) != sha256:
            raise UserError(f"{path} changed while the pipeline ran; run it again")
        return models.restore(arch, nets_weights.read(path)).state_dict()
    except UserError as error:
        raise UserError(f"{role}.weights = {weights}: {error}") from error


def main(settings: Settings) -> None:
    pinned = files.read_json(paths.WEIGHT_INPUTS)
    seed = seeds.derive(settings.seed, "weights")
    about = {"arch": settings.resnet.arch, "weights": settings.resnet.weights}
    state = pin("resnet", **about, sha256=pinned["resnet"], seed=seed)
    files.write_tensors(paths.weights("resnet"), state, about)
    about = {"arch": settings.convnext.arch, "weights": settings.convnext.weights}
    state = pin("convnext", **about, sha256=pinned["convnext"], seed=seed)
    files.write_tensors(paths.weights("convnext"), state, about)


if __name__ == "__main__":
    run(main)
