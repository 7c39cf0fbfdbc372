"""Whether what is not here yet can be fetched."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from src.doctor.finding import Finding
from src.nets import weights, zoo_torchvision
from src.nets.architectures import LITE, TIMM
from src.settings.backbones import every, setting
from src.settings.settings import Settings
from src.storage import paths
from src.storage.fetch import name_in

TIMEOUT = 5.0  # seconds


def reach(settings: Settings) -> Iterator[Finding]:
    """Every address that the settings need, and whether it answers; nobody is asked for what is here."""
    wanted = {what: url for what, url in addresses(settings).items() if not is_here(settings, what, url)}
    if not wanted:
        yield Finding("network", "not needed: everything is here")
        return
    for what, fault in answers(wanted).items():
        file = paths.DATA / "downloads" / name_in(wanted[what])
        if fault is None:
            yield Finding("network", f"{what} can be fetched")
        elif wanted[what] == HUB:
            yield Finding(
                "network", f"{what}: {HUB} does not answer ({fault}), and is needed unless timm has it already"
            )
        else:
            line = f"{what}: {wanted[what]} does not answer ({fault}); export HTTPS_PROXY, or put the file at {file}"
            yield Finding("network", line, fault=True)


HUB = "https://huggingface.co"


def addresses(settings: Settings) -> dict[str, str]:
    """What the settings need from the network: for people, and its address."""
    found = {}
    if settings.dataset.startswith("cifar"):
        from torchvision.datasets import CIFAR10, CIFAR100

        kind = CIFAR10 if settings.dataset == "cifar10" else CIFAR100
        found[f"dataset = {settings.dataset}"] = kind.url
    for name, backbone in every(settings.backbones, settings.resnet, settings.convnext).items():
        arch, source, what = backbone.arch, backbone.weights, setting(name, backbone)
        if "://" in source:
            found[what] = source
        elif arch.startswith(TIMM) and source == "imagenet":
            found[what] = HUB
        elif arch not in LITE and (source == "imagenet" or weights.is_version(source)):
            found[what] = zoo_torchvision.imagenet_url(arch, source)
    return found


def is_here(settings: Settings, what: str, url: str) -> bool:
    """Whether it was fetched before, or what is made of it came with DVC."""
    if (paths.from_root(paths.DATA / "downloads") / name_in(url)).exists():
        return True
    if what.startswith("dataset"):
        made = paths.IMAGE_INPUTS.exists() and (paths.RAW / "train_images.npy").exists()
        return made and json.loads(paths.IMAGE_INPUTS.read_text(encoding="utf-8")).get("dataset") == settings.dataset
    for name, backbone in every(settings.backbones, settings.resnet, settings.convnext).items():
        if setting(name, backbone) == what:
            return _about(paths.weights(name)) == {"arch": backbone.arch, "weights": backbone.weights}
    return False


def _about(path: Path) -> dict[str, str]:
    """Which weights a file holds; empty if there is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return {name: about.get(name, "") for name in ("arch", "weights")}


def answers(wanted: Mapping[str, str]) -> dict[str, str | None]:
    """Why each address does not answer; None where it does. All are asked at once, over the environment's proxies."""
    found: dict[str, str | None] = dict.fromkeys(wanted, f"nothing for {TIMEOUT:g} s")

    def ask(what: str, url: str) -> None:
        found[what] = _fault(url)

    # As daemons, since a name that cannot be resolved may keep a thread for longer.
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in wanted.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    return dict(found)


def _fault(url: str) -> str | None:
    try:
        # An opener of its own, as the one that others share knows the proxies of its first use.
        build_opener().open(Request(url, method="HEAD"), timeout=TIMEOUT).close()  # noqa: S310 - from the settings
    except HTTPError as error:
        return None if error.code in (405, 501) else f"HTTP status {error.code}"  # it knows no HEAD
    except (OSError, ValueError, HTTPException) as error:
        return str(getattr(error, "reason", None) or error)
    return None
