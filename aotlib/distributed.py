r"""Several processes that train one model: who is who, which samples are whose, and agreeing on a word.

`torchrun` starts the processes and tells each its number through the environment. Batch and sample order are those of
one process: every batch of the global order is cut into equal runs, one a process, and gradients are averaged.
Taught in notebook 05.
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler


class Group(NamedTuple):
    r"""This process among those that train together: number `rank` of `size`, number `local` on its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        r"""Whether this is the one process that writes to disk and reports."""
        return self.rank == 0


def find_group() -> Group:
    r"""The group that `torchrun` put this process into; a group of one without it."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    return Group(*(int(os.environ[name]) for name in names)) if "RANK" in os.environ else Group()


def join(group: Group, device: torch.device) -> None:
    r"""Meet the other processes: NCCL between GPUs, gloo between CPUs."""
    if group.size == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, size = next(dist.rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun keeps its own store when it starts the processes again: without a prefix they find addresses of the
        # dead. On several nodes the counts differ, so that torchrun is to share no store there (docs/cluster.md).
        store = dist.PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def shared(network: nn.Module, group: Group, device: torch.device) -> nn.Module:
    r"""`network`, its gradients averaged over the group in every backward pass."""
    if group.size == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def any_of(flag: bool | Tensor, group: Group, device: torch.device) -> bool:
    r"""Whether the flag is up in any process of the group; the same answer in all of them."""
    if group.size == 1:
        return bool(flag)
    told = torch.as_tensor(flag, dtype=torch.float32, device=device).reshape(1)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def mean_of(values: dict[str, float], group: Group, device: torch.device) -> dict[str, float]:
    r"""The mean of each value over the group."""
    if group.size == 1:
        return values
    told = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(told)
    return dict(zip(values, (told / group.size).tolist(), strict=True))


def collect(items: list[str], group: Group) -> list[str]:
    r"""The items of all processes, in order of rank."""
    if group.size == 1:
        return items
    found: list[list[str]] = [[] for _ in range(group.size)]
    dist.all_gather_object(found, items)
    return [item for part in found for item in part]


def wait_for_all(group: Group) -> None:
    if group.size > 1:
        dist.barrier()


class Share(Sampler):
    r"""This process's samples: of every `batch` items of `order`, the rank-th of `size` equal runs.

    >>> [list(Share(range(8), 4, Group(rank, 2))) for rank in (0, 1)]
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """

    def __init__(self, order: Iterable, batch: int, group: Group) -> None:
        if batch % group.size:
            raise ValueError(
                f"a batch of {batch} cannot be cut into {group.size} equal parts, one a process; "
                f"choose a batch that is a multiple of {group.size}"
            )
        self.order, self.batch, self.group = order, batch, group

    def __iter__(self) -> Iterator:
        part = self.batch // self.group.size
        for position, item in enumerate(self.order):
            if position % self.batch // part == self.group.rank:
                yield item
