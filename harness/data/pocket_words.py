"""The words of the pocket world: a closed vocabulary, one token a word, numbers included."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words("cat dog sun moon tree fish bird star")
"""What general tasks copy and reverse."""
COLORS = _words("red blue green black white yellow")
SIZES = ("small", "medium", "large")
MATERIALS = ("wood", "steel", "cotton", "glass")
CATEGORIES = {
    "kitchen": ("cup", "pan", "knife", "plate"),
    "clothes": ("shirt", "scarf", "coat", "glove"),
    "furniture": ("chair", "table", "shelf", "bench"),
    "garden": ("rake", "spade", "hose", "pot"),
    "toys": ("ball", "kite", "doll", "drum"),
}
"""The shop's shelves and what lies on each: knowledge that only the domain part of the data teaches."""
CATEGORY_OF = {product: category for category, products in CATEGORIES.items() for product in products}
PRODUCTS = tuple(CATEGORY_OF)
LISTED = range(13)
"""Numbers that questions list; answers go up to the last of NUMBERS."""
NUMBERS = tuple(str(n) for n in range(21))

_GRAMMAR = _words(
    """
    : ; ? copy reverse sort plus minus what is the of in and now it only first last word add take away how many
    largest smallest from to words item color size material price both cost more much shipping with
    off category which does fit yes no
    """
)
ROLES = ("system", "user", "assistant")
"""Role names of the chat template are words too."""

WORDS = tuple(dict.fromkeys((*ROLES, *_GRAMMAR, *NUMBERS, *NOUNS, *COLORS, *SIZES, *MATERIALS, *CATEGORIES, *PRODUCTS)))
"""Every word there is, in the order of its token ids."""
