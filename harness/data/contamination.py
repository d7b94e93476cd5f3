"""Contamination: benchmark prompts that occur in training data, found by exact match and by shared word n-grams.

    share of a prompt = its different word n-grams that occur in the data / all its different word n-grams

n = 13 words without case, punctuation and white space, as in Brown et al. 2020 (arXiv 2005.14165, appendix C; they go
down to 8 for sets of short texts). They call a prompt dirty that shares any n-gram; a turn of phrase that prompts and
data have in common is one too, so a prompt counts as leaked from a share of 0.7 on, as in Chowdhery et al. 2022 (arXiv
2204.02311, section 8), and the prompts that share any are told beside it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.data.readers import Conversation

NGRAM = 13
"""Words of an n-gram."""
LEAKED = 0.7
"""From this share of its n-grams on, a prompt counts as leaked."""
Gram = tuple[str, ...]
_WORD = re.compile(r"\w+")
_GAPS = {code: " " for code in range(128) if not _WORD.match(chr(code))}
"""For ASCII texts, which are split several times as fast by it."""


@dataclass(frozen=True)
class Overlap:
    """What of one benchmark prompt is in the training data."""

    prompt: str
    """Its id."""
    exact: bool
    """Its first turn is, word for word, a whole message of a training conversation."""
    share: float | None
    """The share of its n-grams that occur in the data, 0 to 1; None where no turn has n words: only `exact` counts."""
    row: str | None
    """The id of the first conversation with the prompt, or else with an n-gram of it; None where there is none."""

    @property
    def leaked(self) -> bool:
        """Enough of its n-grams occur in the data."""
        return self.share is not None and self.share >= LEAKED


def overlaps(
    prompts: Mapping[str, Sequence[str]], conversations: Iterable[Conversation], n: int = NGRAM
) -> list[Overlap]:
    """One row per prompt (id -> the turns that a user says), in their order; messages of every role are searched.

    Only the first turn is matched exactly: `Now make it shorter` is no leak where it stands alone. N-grams are those of
    all turns. A prompt without words matches nothing.
    """
    keys, grams = _by_key(prompts), _by_gram(prompts, n)
    exact: dict[str, str] = {}
    first: dict[str, str] = {}
    found: defaultdict[str, set[Gram]] = defaultdict(set)
    for conversation in conversations:
        for message in conversation.messages:
            said = words(message["content"])
            for prompt in keys.get(" ".join(said), ()):
                exact.setdefault(prompt, conversation.id)
            for gram in grams.keys() & ngrams(said, n):
                for prompt in grams[gram]:
                    found[prompt].add(gram)
                    first.setdefault(prompt, conversation.id)
    sizes = _sizes(grams)
    return [
        Overlap(p, p in exact, len(found[p]) / sizes[p] if p in sizes else None, exact.get(p, first.get(p)))
        for p in prompts
    ]


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation; a script without spaces has few of them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return plain.translate(_GAPS).split() if plain.isascii() else _WORD.findall(plain)


def ngrams(said: Sequence[str], n: int) -> Iterable[Gram]:
    """Every run of n words, in order."""
    return zip(*(said[start:] for start in range(n)), strict=False)


def _by_key(prompts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """First turns as they are matched -> the prompts that begin with them."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for prompt, turns in prompts.items():
        if key := " ".join(words(turns[0])):
            keys[key].append(prompt)
    return dict(keys)


def _by_gram(prompts: Mapping[str, Sequence[str]], n: int) -> dict[Gram, set[str]]:
    """N-grams -> the prompts that have them."""
    grams: defaultdict[Gram, set[str]] = defaultdict(set)
    for prompt, turns in prompts.items():
        for turn in turns:
            for gram in ngrams(words(turn), n):
                grams[gram].add(prompt)
    return dict(grams)


def _sizes(grams: Mapping[Gram, set[str]]) -> Mapping[str, int]:
    """Different n-grams of each prompt that has any."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for owners in grams.values():
        for prompt in owners:
            sizes[prompt] += 1
    return dict(sizes)
