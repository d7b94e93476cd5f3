"""Models as a recipe names them."""

from harness.core.settings import Settings


class ModelSettings(Settings):
    """A model by reference.

    One of pypi:PACKAGE, gguf:FILE, path:DIR, hf:ORG/NAME[@REV], artifact:NAME, pocket:SPEC, endpoint:NAME.
    """

    model: str
    chat_template: str | None = None
    """A file with a Jinja chat template, for a model that has none (or the wrong one)."""
