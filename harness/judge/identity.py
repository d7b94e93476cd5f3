"""A judge's identity: everything that could change its verdicts, as one digest."""

from collections.abc import Mapping

from harness.core.canonical import Json, digest
from harness.judge.api import JudgeTask
from harness.judge.profiles import profile_of
from harness.judge.protocol import Protocol
from harness.judge.settings import OPENAI_URL, JudgeSettings

Key = tuple[str, int]
"""(request digest, repeat)."""


def judge_digest(
    settings: JudgeSettings,
    protocol: Protocol,
    *,
    prompts: str,
    weights: str | None = None,
    plugin: Mapping[str, Json] | None = None,
) -> str:
    """The judge's part of the ledger's key.

    `prompts` is the digest of the benchmark's judge prompts (or of the file they come from); `weights` that of the
    weights, when we serve the judge ourselves; `plugin` the identity of the plug-in that the protocol comes from. Keys,
    concurrency, retries, repeats and limits do not count, the judge's profile only where it changes what is asked.
    """
    served = settings.serve and {
        "weights": weights,
        "dtype": settings.serve.dtype,
        "max_length": settings.serve.max_length,
    }
    return digest(
        {
            "model": None if served else settings.model,  # a served judge is its weights, whatever it is called
            "base_url": None if served else endpoint(settings),
            "served": served,
            "protocol": [protocol.name, protocol.version],
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "prompts": prompts,
            "epoch": settings.epoch,
            **profile_of(settings).changes(),
            **({"plugin": plugin} if plugin else {}),
        }
    )


def request_digest(task: JudgeTask) -> str:
    """The question's part of the ledger's key: the digest of its messages. Equal answers are judged once."""
    return digest(request_messages(task))


def request_messages(task: JudgeTask) -> list[Mapping[str, Json]]:
    """The messages as JSON."""
    return [dict(message) for message in task.messages]


def endpoint(settings: JudgeSettings) -> str:
    """Where the judge is asked, without a trailing slash."""
    return (settings.base_url or OPENAI_URL).rstrip("/")
