"""How a process that was one of several ranks ends."""

import gc

import torch.distributed as dist


def leave_group() -> None:
    """Destroy the process group with everything that holds it, so that gloo's threads end before the interpreter.

    A wrapped model holds its group until it is collected. Where gloo's threads outlive it, one that drops a Python
    object while the interpreter ends aborts the process (pytorch/pytorch#190489). Call it where no model is in scope.
    """
    gc.collect()
    dist.destroy_process_group()
