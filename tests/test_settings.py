"""Settings keep secrets to themselves and cannot change."""

from dataclasses import FrozenInstanceError, replace

import pytest

from proxy.config import load
from proxy.settings import Upstream

UPSTREAM = Upstream("a", "https://a/v1", "sk-secret")


def test_a_key_does_not_show() -> None:
    settings = replace(load(), upstreams={"a": UPSTREAM})
    assert settings.upstreams["a"].key == "sk-secret"
    assert "sk-secret" not in repr(settings) + str(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        load().port = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        UPSTREAM.url = "https://elsewhere"  # type: ignore[misc]
