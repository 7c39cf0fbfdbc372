"""Paths of the settings."""

import pytest

from src.core.errors import UserError
from src.storage import paths


def test_the_home_of_nobody_is_refused_and_ones_own_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.from_root("~/photos") == tmp_path / "photos"
    with pytest.raises(UserError, match=r"^~nosuchuser/photos: ~nosuchuser is no user's home here; "):
        paths.from_root("~nosuchuser/photos")
