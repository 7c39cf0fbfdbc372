"""What the doctor says of the network: nothing is asked for what is here, and nothing waits for long."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

from src.doctor import network
from src.settings.protocols import filled
from src.settings.settings import Settings
from src.storage import files, paths

ARCHIVE = "cifar-10-python.tar.gz"


class Handler(BaseHTTPRequestHandler):
    """Knows `/here`, and refuses HEAD for `/get`; as a proxy it is asked for whole addresses."""

    def do_HEAD(self):
        self.server.asked.append(self.path)
        self.send_response({"/here": 200, "/get": 405}.get(self.path, 404 if self.path.startswith("/") else 200))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    here = HTTPServer(("127.0.0.1", 0), Handler)
    here.asked = []
    threading.Thread(target=here.serve_forever, daemon=True).start()
    yield here
    here.shutdown()
    here.server_close()


def test_an_address_answers_or_not_with_the_reason(server):
    root = f"http://127.0.0.1:{server.server_port}"
    found = network.answers({"a": f"{root}/here", "b": f"{root}/get", "c": f"{root}/gone", "d": "http://127.0.0.1:9/"})
    assert (found["a"], found["b"], found["c"]) == (None, None, "HTTP status 404")
    assert "refused" in found["d"]


def test_the_proxy_of_the_environment_is_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert network.answers({"a": "http://nowhere.invalid/file"}) == {"a": None}
    assert server.asked == ["http://nowhere.invalid/file"]


def test_what_never_answers_is_given_up_after_a_few_seconds(monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT", 0.2)
    monkeypatch.setattr(network, "_fault", lambda _: time.sleep(30))
    begun = time.monotonic()
    assert network.answers({"a": "http://a", "b": "http://b"}) == dict.fromkeys("ab", "nothing for 0.2 s")
    assert time.monotonic() - begun < 5


def settings(**changes) -> Settings:
    lite = {"resnet": {"arch": "efficientnet_lite0"}, "convnext": {"arch": "efficientnet_lite0"}}
    return Settings.model_validate(filled({**lite, **changes}))


@pytest.fixture
def _offline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_ROOT", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(network, "_fault", lambda _: "no route")


@pytest.mark.usefixtures("_offline")
def test_what_cannot_be_fetched_is_a_fault_with_the_place_for_it_unless_it_is_here():
    (found,) = network.reach(settings())
    assert found.fault
    assert found.line.startswith("dataset = cifar10: https://")
    assert found.line.endswith(f"(no route); export HTTPS_PROXY, or put the file at data/downloads/{ARCHIVE}")
    (paths.downloads() / ARCHIVE).write_bytes(b"")
    assert [(found.line, found.fault) for found in network.reach(settings())] == [
        ("not needed: everything is here", False)
    ]


@pytest.mark.usefixtures("_offline")
def test_what_dvc_brought_is_here_too_if_it_is_what_the_settings_name():
    chosen = settings(resnet={"arch": "resnet18"})
    files.write_json(paths.IMAGE_INPUTS, {"dataset": "cifar100"})
    files.write_array(paths.RAW / "train_images.npy", [], (0, 2), "uint8")
    files.write_tensors(paths.weights("resnet"), {"a": torch.ones(1)}, {"arch": "resnet34", "weights": "imagenet"})
    assert [found.line.split(":")[0] for found in network.reach(chosen)] == [
        "dataset = cifar10",
        "resnet.weights = imagenet",
    ]
    paths.IMAGE_INPUTS.write_text(json.dumps({"dataset": "cifar10"}))
    files.write_tensors(paths.weights("resnet"), {"a": torch.ones(1)}, {"arch": "resnet18", "weights": "imagenet"})
    assert [found.fault for found in network.reach(chosen)] == [False]


@pytest.mark.usefixtures("_offline")
def test_only_what_the_settings_need_is_asked_for():
    assert network.addresses(settings(dataset="digits")) == {}
    assert network.addresses(settings(dataset="digits", resnet={"arch": "resnet18", "weights": "random"})) == {}
    version = {"arch": "resnet50", "weights": "IMAGENET1K_V1"}
    (address,) = network.addresses(settings(dataset="digits", resnet=version)).values()
    assert address.endswith("resnet50-0676ba61.pth")
    own = "https://example.org/mine-0123abcd.pth"
    assert [*network.addresses(settings(dataset="digits", convnext={"weights": own})).values()] == [own]
