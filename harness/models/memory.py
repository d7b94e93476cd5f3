"""When memory runs out, on a GPU or not."""

import torch


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that memory was short; the CPU's allocator raises a plain one."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Give back what the failed attempt held. Call it when the error is gone: its frames hold tensors."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
