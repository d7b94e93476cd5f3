"""The way to a judge's endpoint: its address, whether that is on this machine, and the key."""

import os
from urllib.parse import urlsplit

from harness.core.errors import HarnessError
from harness.judge.settings import JudgeSettings


def is_local(url: str) -> bool:
    """Whether an address is on this machine's loopback, which a proxy has no way to."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def check_address(url: str) -> None:
    """Check that an address may be stored.

    Raises:
        HarnessError: it holds a user name or a password.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise HarnessError(
            "holds a user name or a password, which would be stored with every verdict",
            where="judge.base_url",
            fix="Put the key in the environment variable that judge.api_key_env names.",
        )


def api_key(settings: JudgeSettings) -> str:
    """The judge's key, from the environment; `none` for a server that may need no key.

    Raises:
        HarnessError: OpenAI's endpoint is asked, and there is no key.
    """
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key and settings.base_url is None:
        raise HarnessError(
            f"the environment variable {settings.api_key_env} is not set",
            where="judge",
            fix="Put the judge's API key there, or name another variable with judge.api_key_env.",
        )
    return key or "none"
