"""Models of which every process of a training holds a share (torch's FSDP2): their weights, here and gathered."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def is_shared(model: Any) -> bool:
    """Whether processes hold shares of a model."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def local(weight: "Tensor") -> "Tensor":
    """What this process holds of a weight."""
    from torch.distributed.tensor import DTensor

    return weight.to_local() if isinstance(weight, DTensor) else weight


def whole(weight: "Tensor") -> "Tensor":
    """A weight gathered from the processes that hold shares of it; all of them call this together."""
    from torch.distributed.tensor import DTensor

    if not isinstance(weight, DTensor):
        return weight
    mesh = weight.device_mesh
    held = weight.to_local().to(mesh.device_type)  # the share of an offloaded model is in the CPU's memory
    gathered: Tensor = DTensor.from_local(
        held, mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    ).full_tensor()
    return gathered
