"""The site of the project's pages, built by `make docs`: Sphinx reads the repository's Markdown as it lies there.

The source folder is the repository itself, so a link leads to the same file on the site and in the repository.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

sys.path.insert(0, str(Path(__file__).parent))

from recipe_keys import reference

from harness import __version__
from harness.core.settings import Settings

project = "harness"
release = __version__
html_title = "harness"
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
include_patterns = ["*.md", "docs/**.md", "results/reference/**.md", "reports/papers/*.md", "reports/quickstart/*.md"]
exclude_patterns = [".*", "**/tables"]
html_theme = "furo"
html_additional_pages = {"index": "index.html"}
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
smartquotes = False
myst_heading_anchors = 3
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True, "exclude-members": "model_config, model_post_init"}
python_use_unqualified_type_names = True

CONTENTS = """
```{toctree}
:hidden:

docs/training
docs/data
docs/benchmarks
docs/judges
docs/teachers
docs/papers
docs/scale
docs/full-size
docs/python
docs/extensions
docs/faults
docs/api/index
docs/results
ARCHITECTURE
CONTRIBUTING
SECURITY
CHANGELOG
```
"""


def complete(app: Sphinx, page: str, text: list[str]) -> None:
    """Add what a page has on the site alone: the list of pages on the first one, and the tables of a recipe's keys."""
    if page == root_doc:
        text[0] += CONTENTS
    if page == "docs/api/recipe":
        text[0] += reference()


def without_fields(app: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, None] | None:
    """No signature for a class whose fields are listed below it, each with its type, and for a protocol."""
    if what != "class" or not isinstance(obj, type):  # a type variable counts as a class here
        return None
    listed = dataclasses.is_dataclass(obj) or issubclass(obj, Settings) or getattr(obj, "_is_protocol", False)
    return ("", None) if listed else None


def google(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """`Raises:` as a list. (The napoleon extension would also read a field's `e.g.: text` as a type.)"""
    if what not in ("attribute", "data", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=obj).lines()


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-process-docstring", google)
