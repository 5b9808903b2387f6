"""The processes that train one model together, as ``torchrun`` starts them; or just one.

Every process has the whole model and takes its share of the windows of each step. Gradients are sent by torch's
``DistributedDataParallel`` (:mod:`untrimmed.training.terms`). What else they say to each other is little: counts of
loss terms, decisions, and the first one's word. These must be asked for in the same order everywhere, since whoever
waits for the others in the wrong place waits for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from untrimmed.errors import InputError

_PATIENCE = timedelta(hours=12)
"""The others wait while the first process validates."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """One of ``world`` processes. With a world of 1 nothing is said to anybody.

    Attributes:
        rank: number of this process, from 0; the first writes files and shows progress.
        world: how many there are.
        local: number of this process on its machine, which is that of its GPU.
        gradients: the group in which gradients are sent; None for that of everything else.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    gradients: distributed.ProcessGroup | None = field(default=None, compare=False, repr=False)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag if self.world == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def of_first(self, value: T | None) -> T:
        """The value that the first process has; that of the others is not looked at."""
        if self.world == 1:
            return cast("T", value)
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return cast("T", values[0])


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that ``torchrun`` started, connected for the length of the ``with`` block; else just this one.

    Raises:
        InputError: if the environment names a world but not this process's place in it.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = [os.environ.get(name) for name in names]
    if given[1] is None or given[1] == "1":
        yield ALONE
        return
    if not all(value is not None and value.isdecimal() for value in given):
        raise InputError(f"{', '.join(names)} are {given}, expected numbers as torchrun sets them")
    rank, world, local = (int(str(value)) for value in given)
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local % torch.cuda.device_count())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank, world, local, distributed.new_group(timeout=_PATIENCE))
    finally:
        distributed.destroy_process_group()
