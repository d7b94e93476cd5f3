"""Low-rank adapters (arXiv 2106.09685) on a student's linear layers."""

from typing import Any

from torch.nn import Linear

from harness.core.errors import HarnessError
from harness.train.settings import LoraSettings


def add_adapters(student: Any, settings: LoraSettings) -> None:
    """Freeze the student and put adapters on all its linear layers but the output matrix, in place.

    The experts and the router of a mixture are no linear layers: they get no adapters. The adapters' first weights are
    drawn from torch's random state.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise HarnessError("LoRA needs the package peft", fix="Run `pip install peft`.") from None
    student.requires_grad_(False)
    # By name, because peft's "all-linear" adapts the experts of some families.
    output = student.get_output_embeddings()
    linear = [name for name, module in student.named_modules() if isinstance(module, Linear) and module is not output]
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=linear
    )
    inject_adapter_in_model(config, student)
