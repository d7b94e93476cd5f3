"""How fast this machine multiplies matrices and reads memory: a JSON object, from a process that has torch."""

import json
import time
from collections.abc import Callable

import torch

_SECONDS = 4.0
"""Of each of the three measurements."""
_SIZES = {"cuda": 8192, "cpu": 2048}
_BYTES = {"cuda": 2 << 30, "cpu": 256 << 20}


def rate(work: Callable[[], object], amount: float, device: str) -> float:
    """`amount` by the time that `work` takes, the median over some seconds."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return amount / sorted(times)[len(times) // 2]


def main() -> None:
    """Measure float32 and bfloat16 products, then a copy, which reads and writes each byte."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = _SIZES[device]
    rates = {}
    for dtype in ("float32", "bfloat16"):
        matrix = torch.randn(size, size, device=device).to(getattr(torch, dtype))
        rates[dtype] = rate(lambda matrix=matrix: matrix @ matrix, 2.0 * size**3, device)  # type: ignore[misc]
    source = torch.zeros(_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    print(json.dumps({"rates": rates, "bandwidth": rate(lambda: target.copy_(source), 2.0 * len(source), device)}))


if __name__ == "__main__":
    main()
