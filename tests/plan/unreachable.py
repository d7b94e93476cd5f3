"""A hub that holds nothing and cannot be asked, for plans of models that are not here."""

import pytest

from harness.core.hub import Unreachable


def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the test no weights are cached, and no config can be had."""

    def unreachable(ref: object) -> None:
        raise Unreachable(f"`{ref}`: tests ask nobody")

    monkeypatch.setattr("harness.models.refs._cached", lambda ref: None)
    monkeypatch.setattr("harness.models.refs.hub_config", unreachable)
