"""GGUF -> a plain Hugging Face folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.models.ends import write_ends
from harness.models.load import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def import_gguf(file: Path, out: Path) -> None:
    """Write weights (float32 safetensors), config, tokenizer, chat template and generation config of a GGUF to `out`.

    The same file gives the same bytes. Raises HarnessError when transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not file.is_file():
        raise HarnessError("no such GGUF file", where=str(file))
    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
            loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
        except Exception as error:  # a broken file can fail in any way
            raise HarnessError(
                f"this GGUF cannot be read ({type(error).__name__}: {error})", where=str(file)
            ) from error
        out.mkdir(parents=True, exist_ok=True)
        _plain_copy(loaded).save_pretrained(out)
    _save_tokenizer(tokenizer, loaded.config, out)
    write_ends(out)


def describe_gguf(file: Path, out: Path) -> None:
    """Write the config, tokenizer and chat template of a GGUF to `out`: its weights are not read.

    Raises:
        HarnessError: transformers cannot read the file.
    """
    from transformers import AutoConfig, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
        config = _plain_config(AutoConfig.from_pretrained(file.parent, **source))
    except Exception as error:  # a broken file can fail in any way
        raise HarnessError(f"this GGUF cannot be read ({type(error).__name__}: {error})", where=str(file)) from error
    config.save_pretrained(out)
    _save_tokenizer(tokenizer, config, out)


def _save_tokenizer(tokenizer: Any, config: Any, out: Path) -> None:
    tokenizer.model_max_length = config.get_text_config().max_position_embeddings
    for passing in ("name_or_path", "is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(passing, None)
    tokenizer.save_pretrained(out)


def _plain_copy(loaded: "PreTrainedModel") -> "PreTrainedModel":
    """The same weights in a model built from its config, because a model loaded from a GGUF refuses to be saved."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    config = _plain_config(loaded.config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    return model


def _plain_config(read: Any) -> Any:
    """A GGUF's config without what speaks of the file."""
    from transformers import AutoConfig

    described = read.to_dict()
    for passing in ("quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version", "dtype"):
        described.pop(passing, None)
    return AutoConfig.for_model(**described)
