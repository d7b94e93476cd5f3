"""What a judge's server accepts: some refuse a temperature, log-probabilities or a system message.

The table is `profiles.csv`: the first row whose host and model patterns fit is the judge's profile, unless
`judge.profile` names another.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.judge.protocol import Protocol
from harness.judge.settings import OPENAI_URL, JudgeSettings


@dataclass(frozen=True)
class Profile:
    """One row of the table."""

    name: str
    hosts: tuple[str, ...]
    models: tuple[str, ...]
    """Patterns of the model's name, in lower case and without its organisation."""
    temperature: bool
    """A temperature other than the server's default is accepted."""
    logprobs: bool
    system: bool
    """A system message is accepted; where it is not, its text is put before the user's."""
    vllm: bool
    """vLLM's own parameters are accepted: a reply begun for the judge, a reply constrained to choices."""
    tokens_key: str
    """The key of the longest reply: `max_tokens` or `max_completion_tokens`."""
    as_of: str
    source: str

    def changes(self) -> dict[str, Json]:
        """Where a request differs from the settings: a part of the judge's identity."""
        return ({} if self.temperature else {"temperature": None}) | ({} if self.system else {"system": "user"})

    def fit(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """A chat request as this server takes it."""
        fitted = {key: value for key, value in body.items() if key != "temperature" or self.temperature}
        fitted[self.tokens_key] = fitted.pop("max_tokens")
        if not self.system:
            fitted["messages"] = folded(body["messages"])
        return fitted


@cache
def profiles() -> tuple[Profile, ...]:
    """The table, in its order."""
    with files("harness.judge").joinpath("profiles.csv").open(encoding="utf-8") as file:
        return tuple(_profile(row) for row in csv.DictReader(file))


def _profile(row: Mapping[str, str]) -> Profile:
    able = {key: row[key] == "yes" for key in ("temperature", "logprobs", "system", "vllm")}
    return Profile(
        name=row["name"],
        hosts=tuple(row["hosts"].split()),
        models=tuple(row["models"].split()),
        tokens_key=row["tokens_key"],
        as_of=row["as_of"],
        source=row["source"],
        **able,
    )


def profile_of(settings: JudgeSettings) -> Profile:
    """The judge's profile.

    Raises:
        HarnessError: there is no profile of the name `judge.profile`.
    """
    if settings.profile is not None:
        named = {profile.name: profile for profile in profiles()}
        if settings.profile not in named:
            fix = f"Choose from {', '.join(named)}."
            raise HarnessError(f"no judge profile '{settings.profile}'", where="judge.profile", fix=fix)
        return named[settings.profile]
    host = "" if settings.serve else urlsplit(settings.base_url or OPENAI_URL).hostname or ""
    model = settings.model.rpartition("/")[2].partition("@")[0].lower()
    return next(p for p in profiles() if _fits(host, p.hosts) and _fits(model, p.models))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_profile(settings: JudgeSettings, protocol: Protocol) -> None:
    """Check that the judge can be asked in this way.

    Raises:
        HarnessError: the protocol needs what the judge's server does not take.
    """
    profile = profile_of(settings)
    lacks = []
    if "logprobs" in protocol.body and not profile.logprobs:
        lacks.append("log-probabilities")
    if (protocol.prefix or "structured_outputs" in protocol.body) and not profile.vllm:
        lacks.append("vLLM's begun or constrained replies")
    if (protocol.prefix or protocol.continuations) and settings.batch:
        lacks.append("live calls, not judge.batch")
    if lacks:
        raise HarnessError(
            f"protocol '{protocol.name}' needs {' and '.join(lacks)}, and {settings.model} gives none "
            f"(profile '{profile.name}', {profile.as_of})",
            where="judge.protocol",
            fix="Choose another protocol or judge, or name the right judge.profile where this is the wrong one.",
        )


def folded(messages: Sequence[Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    """The messages with every system message's text in front of the user message that follows it."""
    kept: list[Mapping[str, Json]] = []
    system: list[str] = []
    for message in messages:
        if message["role"] == "system":
            system.append(message["content"])
        elif message["role"] == "user" and system:
            kept.append({**message, "content": "\n\n".join([*system, message["content"]])})
            system = []
        else:
            kept.append(message)
    return [*kept, *({"role": "user", "content": text} for text in system)]
