"""Contamination: benchmark prompts that occur in training data, found by exact match and by shared word n-grams.

    share of a prompt = its different word n-grams that occur in the data / all its different word n-grams

n = 13 words without case, punctuation and white space, as in Brown et al. 2020 (arXiv 2005.14165, appendix C; they use
down to 8 for sets of short texts). They count a prompt that shares any n-gram, but a common turn of phrase is a shared
n-gram too. So a prompt counts as leaked from a share of 0.7 on, as in Chowdhery et al. 2022 (arXiv 2204.02311, section
8), and the number of prompts that share any n-gram is shown beside it.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.data.conversations import Conversation

NGRAM = 13
"""Words of an n-gram."""
LEAKED = 0.7
"""The least share of its n-grams with which a prompt counts as leaked."""
Gram = tuple[str, ...]
_WORD = re.compile(r"\w+")
_GAPS = {code: " " for code in range(128) if not _WORD.match(chr(code))}
"""A translation table for ASCII texts, which it splits several times as fast as the pattern."""


@dataclass(frozen=True)
class Overlap:
    """How much of a benchmark prompt occurs in the training data."""

    prompt: str
    """The prompt's id."""
    exact: bool
    """Whether its first turn is, word for word, a whole message of a training conversation."""
    share: float | None
    """The share of its n-grams that occur in the data, 0 to 1; None if no turn has n words: only `exact` counts."""
    row: str | None
    """The id of the first conversation that holds the prompt, or else an n-gram of it; None if none does."""

    @property
    def leaked(self) -> bool:
        """Whether enough of its n-grams occur in the data."""
        return self.share is not None and self.share >= LEAKED


def overlaps(
    prompts: Mapping[str, Sequence[str]], conversations: Iterable[Conversation], n: int = NGRAM
) -> list[Overlap]:
    """A row per prompt (id -> the user's turns), in their order; messages of every role are searched.

    Only the first turn is matched exactly, because a later turn alone, as `Now make it shorter`, is no leak. N-grams
    are taken from all turns. A prompt without words matches no message.
    """
    keys, grams = _by_key(prompts), _by_gram(prompts, n)
    exact: dict[str, str] = {}
    first: dict[str, str] = {}
    shared: defaultdict[str, set[Gram]] = defaultdict(set)
    for conversation in conversations:
        for message in conversation.messages:
            message_words = words(message["content"])
            for prompt in keys.get(" ".join(message_words), ()):
                exact.setdefault(prompt, conversation.id)
            for gram in grams.keys() & ngrams(message_words, n):
                for prompt in grams[gram]:
                    shared[prompt].add(gram)
                    first.setdefault(prompt, conversation.id)
    sizes = Counter(prompt for holders in grams.values() for prompt in holders)
    return [
        Overlap(p, p in exact, len(shared[p]) / sizes[p] if p in sizes else None, exact.get(p, first.get(p)))
        for p in prompts
    ]


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation; a text in a script without spaces has few words."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return plain.translate(_GAPS).split() if plain.isascii() else _WORD.findall(plain)


def ngrams(words: Sequence[str], n: int) -> Iterable[Gram]:
    """Every run of n words, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def _by_key(prompts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """First turn as normalised words -> the prompts that begin with it."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for prompt, turns in prompts.items():
        if key := " ".join(words(turns[0])):
            keys[key].append(prompt)
    return dict(keys)


def _by_gram(prompts: Mapping[str, Sequence[str]], n: int) -> dict[Gram, set[str]]:
    """N-gram -> the prompts that hold it."""
    grams: defaultdict[Gram, set[str]] = defaultdict(set)
    for prompt, turns in prompts.items():
        for turn in turns:
            for gram in ngrams(words(turn), n):
                grams[gram].add(prompt)
    return dict(grams)
