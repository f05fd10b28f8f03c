"""Devices that compute: how much memory they have, how fast they multiply and how fast they read.

Memory and speeds are the vendors' figures: dense bfloat16 without sparsity, and the bandwidth of the device's own
memory. NVIDIA's are of the data sheets of each product (for GeForce: the architecture's white papers, with float32
sums), AMD's of the MI300X's. 1 GB is 10⁹ bytes, as the vendors write it; what a driver reports is a few percent more.
"""

import os
import re
import time
from dataclasses import dataclass

from pairloop.errors import ParameterError


@dataclass(frozen=True)
class Device:
    """One GPU, or all cores of a processor."""

    name: str
    """Model, memory and, where there are several, form."""

    memory: float
    """Bytes."""

    flops: float
    """Operations per second: of a GPU in bfloat16, of a processor in float32."""

    bandwidth: float
    """Bytes per second from its memory."""

    gpu: bool = True
    """Whether it is one: a processor is not rented by the hour."""


@dataclass(frozen=True)
class Machine:
    """Devices of one kind in one machine."""

    device: Device
    """Each of them."""

    count: int = 1
    """How many."""

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        return f"{self.count}x {self.device.name}" if self.device.gpu else self.device.name


KNOWN = (
    Device("B200 180GB", 180e9, 2250e12, 8000e9),
    Device("H200 141GB", 141e9, 989e12, 4800e9),
    Device("H100 80GB SXM", 80e9, 989e12, 3350e9),
    Device("H100 80GB PCIe", 80e9, 756e12, 2000e9),
    Device("H100 94GB NVL", 94e9, 835e12, 3900e9),
    Device("A100 80GB", 80e9, 312e12, 2039e9),
    Device("A100 40GB", 40e9, 312e12, 1555e9),
    Device("MI300X 192GB", 192e9, 1307e12, 5300e9),
    Device("L40S 48GB", 48e9, 362e12, 864e9),
    Device("A40 48GB", 48e9, 150e12, 696e9),
    Device("RTX A6000 48GB", 48e9, 155e12, 768e9),
    Device("RTX 6000 Ada 48GB", 48e9, 364e12, 960e9),
    Device("RTX 5090 32GB", 32e9, 209e12, 1792e9),
    Device("RTX 4090 24GB", 24e9, 165e12, 1008e9),
    Device("RTX 3090 24GB", 24e9, 71e12, 936e9),
    Device("A10 24GB", 24e9, 125e12, 600e9),
    Device("L4 24GB", 24e9, 121e12, 300e9),
)
"""GPUs that can be planned for, the first of several that a text may mean first."""


def parse(text: str) -> Machine:
    """The machine that a text such as `8x H100 80GB` or `RTX 4090` names.

    Raises:
        ParameterError: no such device is known; names those that are.
    """
    found = re.fullmatch(r"\s*(?:([1-9]\d*)\s*[x×]\s*)?(.*\S)\s*", text, re.IGNORECASE)
    words = _words(found[2]) if found else set()
    for device in KNOWN:
        if found and words and words <= _words(device.name):
            return Machine(device, int(found[1] or 1))
    names = ", ".join(device.name for device in KNOWN)
    raise ParameterError(
        f"--device is {text!r}: no such device is known. Write a number and a name, such as '8x H100 80GB', or cpu for "
        f"this machine's processor. Known: {names}"
    )


def recognised(name: str, memory: float) -> Device | None:
    """The known device that a driver calls `name`, with about `memory` bytes; None: it is not in the list."""
    said = _words(name)
    for device in KNOWN:
        own = {word for word in _words(device.name) if not word.endswith("gb") and word not in ("sxm", "nvl", "pcie")}
        if own <= said and abs(memory / device.memory - 1) < 0.15:
            return device
    return None


def here(gpus: bool) -> Machine:
    """This machine: its GPUs, if any and asked for, or all cores of its processor, as fast as a second shows.

    Raises:
        ParameterError: it has a GPU that is not known.
    """
    import torch

    if gpus and torch.cuda.is_available():
        own = torch.cuda.get_device_properties(0)
        found = recognised(own.name, own.total_memory)
        if found is None:
            raise ParameterError(f"this machine's {own.name} is not known: name one that is like it with --device")
        return Machine(found, torch.cuda.device_count())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # The bandwidth of a processor is not planned with.
    cores = torch.get_num_threads()
    name = f"{cores} core{'s' if cores > 1 else ''}"
    return Machine(Device(name, memory, _multiplied(), 1.0, gpu=False))


def _multiplied() -> float:
    """Operations per second of this machine's processor in float32, multiplying matrices for a second."""
    import torch

    side, count, start = 1024, 0, time.perf_counter()
    matrix = torch.rand(side, side)
    while (seconds := time.perf_counter() - start) < 1:
        matrix @ matrix
        count += 1
    return 2 * side**3 * count / seconds


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", re.sub(r"(\d)\s+gb", r"\1gb", text.lower())))
