"""How long a pull request may train: GPU hours over all processes, and over all runs that went on from a checkpoint."""

from trunkline.errors import Error
from trunkline.stages.train.loop import History, Run


def gpu_hours(job: Run, history: History) -> float:
    """What the finished steps took; without a GPU, hours of the training processes."""
    return history.seconds * job.processes.count / 3600


def spent(job: Run, history: History) -> bool:
    """Whether the budget is used up and steps are left."""
    return gpu_hours(job, history) > job.params.max_gpu_hours and history.steps < job.steps


def check(job: Run, history: History) -> None:
    """Let training go on.

    Raises:
        Error: the budget is used up and steps are left.
    """
    if spent(job, history):
        raise Error(
            f"training took {gpu_hours(job, history):.3g} GPU hours for {history.steps} of {job.steps} steps;"
            f" train.max_gpu_hours is {job.params.max_gpu_hours:g}",
            "raise train.max_gpu_hours and it goes on from its checkpoint, or train less: epochs, last_layers",
        )
