"""A text read as if it were params.yaml, and its refusal."""

import pytest

from src.core.errors import UserError
from src.settings.settings import Settings, load


@pytest.fixture
def read(tmp_path):
    """Reads a text as if it were params.yaml."""

    def read(text: str) -> Settings:
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


def refusal(read, text: str) -> str:
    """The message with which a text is refused, one line, less the file's name."""
    with pytest.raises(UserError) as error:
        read(text)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value).partition("params.yaml")[2].removeprefix(": ")
