"""Load models and tokenizers from Hugging Face folders: safetensors only, never remote code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.core.errors import HarnessError
from harness.core.lines import read_json
from harness.models.inventory import quantised, weights
from harness.models.logprobs import Head
from harness.models.shares import is_shared, local

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Dtype = Literal["float32", "bfloat16"]

Placement = str | Mapping[str, str]
"""A device; or how a model's parts are spread over several, as transformers' `device_map` says it."""
_SPREAD = "balanced"
"""The `device_map` that spreads a model evenly over all GPUs that the process may use."""


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a folder; HarnessError if the folder has none, or it cannot give character offsets."""
    from transformers import AutoTokenizer

    _check_folder(folder, "tokenizer_config.json", "tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise HarnessError(f"the tokenizer cannot be loaded ({_brief(error)})", where=str(folder)) from error
    if not tokenizer.is_fast:
        raise HarnessError(
            "the tokenizer has no fast version", where=str(folder), fix="Convert it to a tokenizer.json first."
        )
    return tokenizer


def tokenizer_difference(first: Path, second: Path) -> str:
    """How the vocabularies of two folders' tokenizers differ, in words; empty where they are equal."""
    if not (difference := vocabulary_difference(first, second)):
        return ""
    return f"{difference} (in {first} and {second})"


def vocabulary_difference(first: Path, second: Path) -> str:
    """The numbers of entries of two folders' vocabularies and of those they share; empty where they are equal."""
    vocabulary, other = (load_tokenizer(folder).get_vocab() for folder in (first, second))
    if vocabulary == other:
        return ""
    shared = len(vocabulary.items() & other.items())
    return f"{len(vocabulary)} and {len(other)} entries, {shared} the same"


def available() -> Placement:
    """Where a pass has its model: on the CPU, on the GPU, or spread over the GPUs where its stage has several."""
    import torch

    return {0: "cpu", 1: "cuda"}.get(torch.cuda.device_count(), _SPREAD)


def load_model(folder: Path, dtype: Dtype, place: Placement = "cpu") -> "PreTrainedModel":
    """The causal language model of a folder, in evaluation mode.

    A model that is spread over devices takes its inputs where its input embedding is (`model.device`); its layers, the
    last hidden states and the output matrix may be elsewhere.

    Raises:
        HarnessError: weights are missing or broken, or do not fit on the GPUs.
    """
    from transformers import AutoModelForCausalLM

    return _placed(AutoModelForCausalLM, folder, dtype, place)


def load_share(folder: Path, dtype: Dtype, processes: int, *, frozen: bool = False, offload: bool = False) -> Any:
    """This process's share of the causal language model of a folder, in evaluation mode, on the process's device.

    transformers makes the model empty and shares out its parameters by rows; each process reads its rows of each stored
    weight. torch (FSDP2) gathers a layer's weights around its passes. All `processes` call this together. A `frozen`
    model takes no gradients and holds no gathered weights between its passes; with `offload` its share waits in the
    CPU's memory.

    Raises:
        HarnessError: weights that are missing or broken, or a model that cannot be shared out.
    """
    from transformers import AutoModelForCausalLM
    from transformers.distributed import DistributedConfig

    _check_plain(folder)
    shared = DistributedConfig(fsdp_size=processes, fsdp_cpu_offload=offload)
    model: Any = read_model(AutoModelForCausalLM, folder, dtype, distributed_config=shared).eval()
    model.config.distributed_config = None  # Whoever makes a model of this config makes a whole one.
    _check_shared(model, processes, folder)
    if frozen:
        model.requires_grad_(False)
        model.set_reshard_after_forward(True)
    if offload:
        device = model.device
        model.to("cpu")
        for module in model.modules():  # Buffers are small, and are read where the states are.
            held = {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
            module._buffers.update({name: buffer.to(device) for name, buffer in held.items()})
    return model


def load_reward_model(
    folder: Path, dtype: Dtype, place: Placement = "cpu", *, new_head: bool = False
) -> "PreTrainedModel":
    """A sequence classifier with one label, in evaluation mode; HarnessError when weights are missing or broken.

    `new_head` puts a classifier's head on a causal language model, with weights drawn from torch's random state.
    """
    from transformers import AutoModelForSequenceClassification

    _check_folder(folder, "config.json")
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and "AutoModelForSequenceClassification" in (config.get("auto_map") or ()):
        raise HarnessError(
            "this reward model needs code of its own, which is never run",
            where=str(folder),
            fix="Name a model of a class that transformers has, or give recorded rewards.",
        )
    head: dict[str, Any] = {"new": ("score.weight",), "num_labels": 1} if new_head else {}
    model: PreTrainedModel = _placed(AutoModelForSequenceClassification, folder, dtype, place, **head)
    if model.config.num_labels != 1:
        raise HarnessError(
            f"a reward model has one label, this one has {model.config.num_labels}",
            where=str(folder),
            fix="Name a model for sequence classification with num_labels 1.",
        )
    return model


def _placed(auto: Any, folder: Path, dtype: Dtype, place: Placement, **options: Any) -> Any:
    """`auto`'s model of a folder in its place, in evaluation mode."""
    _check_folder(folder, "config.json")
    # What reads quantised weights puts them in their place itself.
    if isinstance(place, str) and place != _SPREAD and not quantised(folder):
        return read_model(auto, folder, dtype, **options).to(place).eval()
    model = read_model(auto, folder, dtype, device_map=place, **options)
    parts = getattr(model, "hf_device_map", {"": model.device.type})  # absent where one device has the whole model
    if place == _SPREAD and not {"cpu", "disk"}.isdisjoint(parts.values()):
        raise HarnessError(
            "the model does not fit on the GPUs of its stage",
            where=str(folder),
            fix="Give the stage more GPUs (`resources: {gpus: N}`), or read it in bfloat16.",
        )
    return model.eval()


def read_model(auto: Any, folder: Path, dtype: Dtype, new: tuple[str, ...] = (), **options: Any) -> Any:
    """`auto`'s model of a folder, where `options` place it; of its weights only those in `new` may be missing.

    Raises:
        HarnessError: weights are missing or broken.
    """
    import torch

    _check_folder(folder, "config.json")
    if not any(folder.glob("*.safetensors")):
        raise HarnessError(
            "no safetensors weights here",
            where=str(folder),
            fix="Convert the weights to safetensors: nothing else is read.",
        )
    _check_claims(folder)
    with quiet():
        try:
            model, info = auto.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
        except Exception as error:
            raise HarnessError(f"the model cannot be loaded ({_brief(error)})", where=str(folder)) from error
    # transformers fills missing weights with random ones and only warns.
    if missing := sorted(set(info["missing_keys"]) - set(new)) + sorted(str(k) for k in info["mismatched_keys"]):
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise HarnessError(f"{len(missing)} weights are missing or of the wrong shape: {shown}", where=str(folder))
    if caps_attention(model):
        model.set_attn_implementation("eager")
    return model


def caps_attention(model: "PreTrainedModel") -> bool:
    """Whether a model bounds its attention scores (Gemma 2): torch's fused attention would leave the bound out."""
    return getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None


def _check_plain(folder: Path) -> None:
    """HarnessError for quantised weights, which cannot be shared out."""
    _check_folder(folder, "config.json")
    if method := quantised(folder):
        raise HarnessError(
            f"the weights are quantised ({method}), and processes share only weights that are not",
            where=str(folder),
            fix="Set resources.sharding to none, store the teacher's predictions first with `targets: cached`, or name "
            "an unquantised checkpoint.",
        )


def _check_shared(model: Any, processes: int, folder: Path) -> None:
    """HarnessError for a model whose layers are not shared one by one, or with fewer rows than processes."""
    layers = getattr(model.base_model, "layers", ())
    if not layers or not all(map(is_shared, layers)):
        raise HarnessError(
            f"a {type(model).__name__} cannot be shared out among processes: its layers are not known",
            where=str(folder),
            fix="Set resources.sharding to none, or use a model of the Llama, Mistral, Mixtral, Qwen, Gemma family.",
        )
    for name, weight in model.named_parameters():
        if weight.shape[0] < processes:
            raise HarnessError(
                f"{name} has {weight.shape[0]} rows for {processes} processes, and each holds at least a row",
                where=str(folder),
                fix="Use fewer processes: a mixture of experts is shared out expert by expert.",
            )


def _check_folder(folder: Path, *files: str) -> None:
    if not folder.is_dir():
        raise HarnessError("no such model folder", where=str(folder))
    if absent := [name for name in files if not (folder / name).is_file()]:
        raise HarnessError(f"not a Hugging Face model folder: {', '.join(absent)} missing", where=str(folder))


_LAYERS = ("num_hidden_layers", "n_layer")
_WIDE = (
    *("vocab_size", "intermediate_size", "head_dim", "num_attention_heads", "num_key_value_heads"),
    *("num_labels", "num_local_experts", "num_experts"),
)
"""Settings of which each is a least number of rows of a matrix as wide as the model."""


def _check_claims(folder: Path) -> None:
    """Refuse a config far larger than its weights, because transformers would fill memory with the missing ones."""
    config, sizes = read_json(folder / "config.json"), weights(folder)
    if not isinstance(config, dict):
        raise HarnessError("is no model's config", where=str(folder / "config.json"))
    for part in (config, *(v for v in config.values() if isinstance(v, dict))):
        width = part.get("hidden_size")
        wide = width if isinstance(width, int) else 1
        most = {"hidden_size": sum(sizes.values()), **dict.fromkeys(_LAYERS, len(sizes))}
        most |= dict.fromkeys(_WIDE, sum(sizes.values()) // max(wide, 1))
        for name, limit in most.items():
            if isinstance(part.get(name), int | float) and not part[name] <= limit:
                raise HarnessError(
                    f"{name} is {part[name]}, and the weights have room for {limit}", where=str(folder / "config.json")
                )


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' progress bars inside; the setting before is restored."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_finite(model: "PreTrainedModel", where: str) -> None:
    """HarnessError naming the first weight (of a shared model: in this process) that holds a NaN or an infinity."""
    import torch

    for name, weight in model.named_parameters():
        held = local(weight)
        if held.is_floating_point() and held.element_size() == 1:
            continue  # torch has no such test of 8-bit weights, which are quantised
        if not bool(torch.isfinite(held).all()):
            raise HarnessError(f"the weights hold NaN or infinite values, first in {name}", where=where)


def output_head(model: "PreTrainedModel") -> Head:
    """What makes logits of last hidden states; HarnessError for a model that computes its logits in another way."""
    head: Any = model.get_output_embeddings()
    config = model.config.get_text_config()
    extras = [name for name in ("logits_scaling", "logit_scale") if getattr(config, name, None) not in (1.0, None)]
    if head is None or getattr(head, "bias", None) is not None:
        extras.append("an output bias" if head is not None else "no output matrix")
    if extras:
        raise HarnessError(
            f"{type(model).__name__} computes its logits in a way that is not supported ({', '.join(extras)})",
            fix="Use a model of the Llama, Mistral, Mixtral, Qwen, Gemma or a like family.",
        )
    return Head(head.weight, getattr(config, "final_logit_softcapping", None))
