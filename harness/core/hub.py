"""The Hugging Face hub's refusals in one line each, for models and datasets alike."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.errors import HarnessError, brief

_BUSY = 429
_HTTP = ("httpx", "httpcore", "requests", "urllib3")
"""Beginnings of the modules of HTTP libraries that the hub's client stands on, and whose errors it lets through."""


class Unreachable(HarnessError):
    """The hub cannot be asked, and the local cache does not hold what is needed."""


@contextmanager
def explained(name: str, elsewhere: str) -> Iterator[None]:
    """Turn what the hub's client raises about the repository `name` into a HarnessError.

    `elsewhere` is the remedy where the hub cannot be reached.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError:
        raise HarnessError(f"`{name}` is gated", fix="Ask for access on its hub page, then set HF_TOKEN.") from None
    except RevisionNotFoundError:
        raise HarnessError(f"`{name}`: the repository has no such revision", fix="Check the revision.") from None
    except RepositoryNotFoundError:
        fix = "Check its name; for a private repository set HF_TOKEN."
        raise HarnessError(f"`{name}`: the hub has no such repository", fix=fix) from None
    except LocalEntryNotFoundError as error:  # whatever kept the client from asking is its cause
        raise _told(name, error.__cause__ or error, elsewhere) from None
    except EntryNotFoundError as error:
        raise HarnessError(f"`{name}`: the repository has no such file ({brief(error)})") from None
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, RuntimeError) as error:
        raise _told(name, error, elsewhere) from None
    except Exception as error:
        if not type(error).__module__.startswith(_HTTP):
            raise
        raise _told(name, error, elsewhere) from None


def _told(name: str, error: BaseException, elsewhere: str) -> HarnessError:
    from huggingface_hub.errors import HfHubHTTPError

    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if status == _BUSY:
        fix = "Wait some minutes and run again; with a token (HF_TOKEN) the hub takes more."
        return HarnessError(f"`{name}`: the hub takes no more requests for now (429)", fix=fix)
    if status is not None:
        return HarnessError(f"`{name}`: the hub answered {status} ({brief(error)})", fix="Try again later.")
    what = f"`{name}` is not in the local cache and the hub cannot be reached ({type(error).__name__})"
    return Unreachable(what, fix=elsewhere)
