"""Whether a judge can be asked today: its model is not shut down, its endpoint lists it, and takes the key.

No verdict is asked for. The endpoint's own list decides; `shutdowns.csv` says of OpenAI's models what can be known
without a network.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from harness.core.canonical import Json
from harness.core.errors import HarnessError, brief
from harness.judge.access import api_key, check_address, is_local
from harness.judge.identity import endpoint
from harness.judge.settings import OPENAI_URL, JudgeSettings

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0
_NAMED = 5
"""Models that a message names of an endpoint's list."""
_DEPLOYMENTS = ".azure.com"
"""End of the host names of an endpoint whose list has models, where its users ask deployments by names of their own."""


@dataclass(frozen=True)
class Shutdown:
    """A model's last day."""

    day: date
    instead: str
    """A living model of its class."""
    as_of: str
    source: str


@cache
def shutdowns() -> Mapping[str, Shutdown]:
    """OpenAI's shutdowns by model, past and announced; where two notices differ, the later."""
    with files("harness.judge").joinpath("shutdowns.csv").open(encoding="utf-8") as file:
        return {
            row["model"]: Shutdown(date.fromisoformat(row["shut_down"]), row["instead"], row["as_of"], row["source"])
            for row in csv.DictReader(file)
        }


def look(settings: JudgeSettings) -> str:
    """Look whether the judge can be asked; "", or what there is to know of it all the same.

    That is the day of its shutdown, where that is announced, or the reason why nobody could look.

    Raises:
        HarnessError: the model is shut down, the key is not there or refused, or the endpoint does not list the model.
    """
    if settings.serve is not None:
        return ""
    model, url = settings.model, endpoint(settings)
    check_address(url)
    known = shutdowns().get(model) if url == OPENAI_URL else None
    if known is not None:
        _check_day(
            settings, known.day, f"{known.source}, {known.as_of}", f"Ask a living model, such as {known.instead}."
        )
    try:
        entry, living = _listed(settings)
    except _NoListError as error:
        later = f"; it will be shut down on {known.day}" if known else ""
        return f"judge {model}: whether it answers could not be seen ({url}: {error}){later}"
    if entry is None:
        fix = f"It lists {_some(model, living)}."
        raise HarnessError(f"the endpoint does not list the judge {model}", where=url, fix=fix)
    day = _day(entry) or (known.day if known else None)
    if day is None:
        return ""
    _check_day(settings, day, "says the endpoint", f"Ask a living model: it lists {_some(model, living)}.")
    return f"judge {model} will be shut down on {day}"


class _NoListError(Exception):
    """The endpoint shows no list of its models."""


def _check_day(settings: JudgeSettings, day: date, source: str, fix: str) -> None:
    if day <= datetime.now(UTC).date():
        fix += " Verdicts on record are kept and used."
        raise HarnessError(
            f"the judge {settings.model} was shut down on {day} ({source})", where=endpoint(settings), fix=fix
        )


def _listed(settings: JudgeSettings) -> tuple[Mapping[str, Json] | None, list[str]]:
    """The judge's entry in the endpoint's list, None where there is no such entry; and the names of all living models.

    Raises:
        HarnessError: the key is not there, or is refused.
        _NoListError: there is no list, or it does not say which names can be asked.
    """
    response = _get(settings, "models")
    try:
        entries = {str(entry["id"]): entry for entry in response.json()["data"]}
    except (ValueError, KeyError, TypeError):
        entries = {}
    if response.status_code != HTTPStatus.OK or not entries:
        raise _NoListError(f"no list of models, HTTP {response.status_code}")
    today, alike = datetime.now(UTC).date(), _alike(settings.model)
    living = [name for name, entry in entries.items() if (_day(entry) or date.max) > today]
    for name, entry in entries.items():
        if alike & _alike(name):
            return entry, living
    if (urlsplit(endpoint(settings)).hostname or "").endswith(_DEPLOYMENTS):
        raise _NoListError("it lists models, and a deployment may have another name")
    return _alias(settings), living


def _alias(settings: JudgeSettings) -> Mapping[str, Json] | None:
    """The entry of a name that the endpoint knows but does not list."""
    response = _get(settings, f"models/{quote(settings.model)}")
    try:
        entry = response.json()
    except ValueError:
        return None
    return entry if response.status_code == HTTPStatus.OK and isinstance(entry, dict) and "id" in entry else None


def _get(settings: JudgeSettings, path: str) -> "httpx.Response":
    import httpx  # here, because most commands look for no judge

    url, headers = endpoint(settings), {"Authorization": f"Bearer {api_key(settings)}"}
    try:
        response = httpx.get(
            f"{url}/{path}", headers=headers, timeout=_TIMEOUT_S, trust_env=not is_local(url), follow_redirects=True
        )
    except httpx.HTTPError as error:
        raise _NoListError(f"unreachable, {brief(error)}") from None
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise HarnessError(
            "the judge refuses the key (HTTP 401)",
            where=url,
            fix=f"Put a valid key in the environment variable {settings.api_key_env}.",
        )
    return response


def _alike(name: str) -> set[str]:
    """A model's name, and what is left of it without its organisation (`models/x`) or its variant (`x:latest`)."""
    return {name, name.rpartition("/")[2], name.partition(":")[0]} - {"ft"}


def _day(entry: Mapping[str, Json]) -> date | None:
    """The day that an entry names; None where it names no day."""
    try:
        return date.fromisoformat(str(entry.get("shutdown_date")))
    except ValueError:
        return None


def _some(model: str, living: Sequence[str]) -> str:
    """Some names of a list, those first that resemble the model's."""
    names = list(dict.fromkeys([*get_close_matches(model, living, _NAMED, 0.4), *living]))
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
