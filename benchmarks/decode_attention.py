"""One decoding step's attention: grouped queries against repeated keys and values (what transformers does).

    python benchmarks/decode_attention.py

SmolLM2-135M's shape (9 query heads on 3 key heads of 64), 40 rows, a cache of 600 tokens; medians of 20 in one process.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.generate.attention import grouped_attention

ROWS, LENGTH, HEADS, GROUPS, WIDTH = 40, 600, 9, 3, 64


class Layer:
    """What transformers asks of an attention module."""

    num_key_value_groups = HEADS // GROUPS
    is_causal = True


def milliseconds(call: Callable[[], object], repeats: int = 20) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats + 2):
        clock = time.perf_counter()
        call()
        times.append(time.perf_counter() - clock)
    return statistics.median(times[2:]) * 1e3


def main() -> None:
    """Print a Markdown table."""
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}\n")
    print("| dtype | repeated, ms | grouped, ms | ratio | largest difference |\n|---|---:|---:|---:|---:|")
    for dtype in (torch.float32, torch.bfloat16):
        query = torch.randn(ROWS, HEADS, 1, WIDTH, dtype=dtype)
        key, value = (torch.randn(ROWS, GROUPS, LENGTH, WIDTH, dtype=dtype) for _ in range(2))
        mask = torch.ones(ROWS, 1, 1, LENGTH, dtype=torch.bool)

        def repeated(q: Tensor = query, k: Tensor = key, v: Tensor = value, m: Tensor = mask) -> Tensor:
            return sdpa_attention_forward(Layer(), q, k, v, m)[0]

        def grouped(q: Tensor = query, k: Tensor = key, v: Tensor = value, m: Tensor = mask) -> Tensor:
            return grouped_attention(Layer(), q, k, v, m)[0]

        with torch.inference_mode():
            apart = (repeated() - grouped()).abs().max().item()
            slow, fast = milliseconds(repeated), milliseconds(grouped)
        print(f"| {str(dtype).removeprefix('torch.')} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f}x | {apart:.1e} |")


if __name__ == "__main__":
    main()
