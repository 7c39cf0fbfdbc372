"""Downloads: a file arrives whole and with the right hash, or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.storage.fetch import fetch, hash_in_name
from src.storage.files import sha256

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def remote(tmp_path) -> Path:
    path = tmp_path / "remote" / f"toy-{DIGEST[:8]}.pth"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def local(tmp_path) -> Path:
    path = tmp_path / "downloads"
    path.mkdir()
    return path


class Unreliable(BaseHTTPRequestHandler):
    """A server that has one file only, and hangs up in the middle of it."""

    def do_GET(self) -> None:
        if "half" not in self.path:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100])
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Unreliable) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd"),
        ("https://example.org/a-b-c-0123456789abcdef.safetensors?download=true", "0123456789abcdef"),
        (f"file:///tmp/toy-{DIGEST}.pth", DIGEST),
    ],
)
def test_the_name_of_published_weights_holds_their_hash(url, prefix):
    assert hash_in_name(url) == prefix


@pytest.mark.parametrize("name", ["resnet18.pth", "resnet18-f37072f.pth", "resnet18-weights1.pth", "f37072fd.pth"])
def test_a_name_without_a_hash_is_refused(name):
    with pytest.raises(UserError, match=rf"https://example\.org/{name}: its name must end in -<first 8 or more digits"):
        hash_in_name(f"https://example.org/{name}")


def test_an_address_that_cannot_be_parsed_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="bad-00000000"):
        fetch("http://[bad-00000000.pth", tmp_path, "00000000")


def test_a_file_is_fetched_under_its_own_name(remote, local):
    path = fetch(remote.as_uri(), local, DIGEST[:8])
    assert path == local / remote.name
    assert path.read_bytes() == CONTENT
    assert list(local.iterdir()) == [path]


def test_what_is_not_what_was_promised_is_not_kept(remote, local):
    with pytest.raises(UserError) as error:
        fetch(remote.as_uri(), local, "00000000")
    assert str(error.value).startswith(f"{remote.as_uri()}: invalid hash value")
    assert str(error.value).endswith("; nothing was kept, try again")
    assert list(local.iterdir()) == []


def test_a_file_that_is_there_is_used_without_the_network(local):
    (local / "toy.pth").write_bytes(CONTENT)
    assert fetch("http://127.0.0.1:9/toy.pth", local, DIGEST) == local / "toy.pth"


def test_a_file_that_is_there_with_another_hash_is_refused_and_left_alone(remote, local):
    (local / remote.name).write_bytes(b"something else")
    with pytest.raises(UserError) as error:
        fetch(remote.as_uri(), local, DIGEST[:8])
    assert str(error.value) == (
        f"{local / remote.name}: its SHA-256 does not begin with {DIGEST[:8]}; delete it, and it is fetched again"
    )
    assert (local / remote.name).read_bytes() == b"something else"


def test_without_a_network_the_error_says_where_to_put_the_file(local):
    url = "http://127.0.0.1:9/x-00000000.pth"
    with pytest.raises(UserError) as error:
        fetch(url, local, "00000000")
    message = str(error.value)
    assert message.startswith(f"{url} cannot be fetched (")
    assert f"put the file at {local / 'x-00000000.pth'} by hand" in message
    assert "`make demo`" in message
    assert "\n" not in message
    assert list(local.iterdir()) == []


def test_a_transfer_that_breaks_off_is_not_kept(server, local):
    with pytest.raises(UserError, match="nothing was kept"):
        fetch(f"{server}/half-{DIGEST[:8]}.pth", local, DIGEST[:8])
    assert list(local.iterdir()) == []


def test_an_address_that_leads_nowhere_is_reported_with_what_the_server_said(server, local):
    with pytest.raises(UserError, match=r"x-00000000\.pth cannot be fetched \(Not Found\)"):
        fetch(f"{server}/x-00000000.pth", local, "00000000")
    assert list(local.iterdir()) == []


@pytest.mark.parametrize("url", ["nonsense://x/y-00000000.pth", "file:///nowhere/y-00000000.pth"])
def test_an_address_that_means_nothing_is_refused_in_one_line(local, url):
    with pytest.raises(UserError, match="cannot be fetched") as error:
        fetch(url, local, "00000000")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["https://example.org/my model-00000000.pth", "http://localhost:port/x-00000000.pth"])
def test_an_address_that_is_miswritten_is_refused_in_one_line(local, url):
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch(url, local, "00000000")
