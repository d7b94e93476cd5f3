"""When memory runs out, on a GPU or not."""

import torch


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release() -> None:
    """Free the memory of a failed attempt. Call it after the error is gone, because the error's frames hold tensors."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
