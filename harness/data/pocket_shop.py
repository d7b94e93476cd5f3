"""The domain part of the pocket world, a shop's catalogue: attributes, prices, shelves; two turns each."""

from random import Random

from harness.data.pocket_general import Turns
from harness.data.pocket_truth import turn
from harness.data.pocket_words import CATEGORIES, CATEGORY_OF, COLORS, LISTED, MATERIALS, PRODUCTS, SIZES


def extraction(rng: Random) -> Turns:
    """Name one or two attributes of a catalogue record; then another attribute."""
    record = {
        "item": rng.choice(PRODUCTS),
        "color": rng.choice(COLORS),
        "size": rng.choice(SIZES),
        "price": str(rng.choice(LISTED)),
    }
    names = rng.sample(sorted(record), 4)
    text = " ; ".join(f"{name} {record[name]}" for name in names)
    *asked, other = rng.sample(names, rng.randint(2, 3))
    return (
        turn(f"{text} ; what is the {' and '.join(asked)} ?", op="attributes", record=record, names=asked),
        turn(f"and the {other} ?", op="attributes", record=record, names=[other]),
    )


def price(rng: Random) -> Turns:
    """Add or compare the prices of two items; then add shipping or subtract a discount."""
    item, other = rng.sample(PRODUCTS, 2)
    a, b = rng.randint(4, 12), rng.randint(1, 4)
    if rng.random() < 0.5:
        first = turn(f"item {item} price {a} ; item {other} price {b} ; what does both cost ?", op="plus", a=a, b=b)
    else:
        text = f"item {other} price {b} ; item {item} price {a} ; how much more does the {item} cost ?"
        first = turn(text, op="minus", a=a, b=b)
    total, step = int(first.answer), rng.randint(1, 4)
    if rng.random() < 0.5 or total < step:
        return first, turn(f"now with {step} shipping", op="plus", a=total, b=step)
    return first, turn(f"now with {step} off", op="minus", a=total, b=step)


def category(rng: Random) -> Turns:
    """Name an item's category; then say whether the item fits a given category."""
    product = rng.choice(PRODUCTS)
    text = f"item {product} ; color {rng.choice(COLORS)} ; size {rng.choice(SIZES)} ; material {rng.choice(MATERIALS)}"
    shelf = CATEGORY_OF[product] if rng.random() < 0.5 else rng.choice(tuple(CATEGORIES))
    return (
        turn(f"{text} ; which category does it fit ?", op="category", product=product),
        turn(f"does it fit in {shelf} ?", op="fits", product=product, category=shelf),
    )


TASKS = {"extraction": extraction, "price": price, "category": category}
"""The domain categories."""
