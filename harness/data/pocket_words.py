"""The words of the pocket world: a closed vocabulary with a token per word, numbers included."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words("cat dog sun moon tree fish bird star")
"""The words that general tasks copy and reverse."""
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
"""The shop's shelves and the products on each: knowledge that only the domain part of the data teaches."""
CATEGORY_OF = {product: category for category, products in CATEGORIES.items() for product in products}
PRODUCTS = tuple(CATEGORY_OF)
LISTED = range(13)
"""Numbers that occur in questions; answers go up to the last of NUMBERS."""
NUMBERS = tuple(str(n) for n in range(21))

_GRAMMAR = _words(
    """
    : ; ? copy reverse sort plus minus what is the of in and now it only first last word add take away how many
    largest smallest from to words item color size material price both cost more much shipping with
    off category which does fit yes no
    """
)
ROLES = ("system", "user", "assistant")
"""The chat template writes role names, so they are words too."""

WORDS = tuple(dict.fromkeys((*ROLES, *_GRAMMAR, *NUMBERS, *NOUNS, *COLORS, *SIZES, *MATERIALS, *CATEGORIES, *PRODUCTS)))
"""Every word, in the order of token ids."""
