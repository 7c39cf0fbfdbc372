"""The engines that run experiments besides DVC's queue: Ray, and Slurm or local processes through submitit.

An engine runs a task on a machine with the requested CPUs and GPUs. A task returns whether it succeeded; the engine
raises `LostError` if the task ended without returning.
"""

import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import src
from src.core.errors import UserError

Outcome = tuple[bool, str]  # whether the experiment succeeded and is in the repository, and what it printed
LOGS = Path(".dvc") / "tmp" / "submitit"
SQUEUE_EVERY = 10.0  # seconds, since many users send such requests to one machine
STOP_TIMEOUT = 15.0  # seconds for cancelled tasks to end the processes that they started


class LostError(Exception):
    """A task ended without a result: its process was killed, or its machine failed."""


class Engine(Protocol):
    """What runs tasks."""

    def submit(self, name: str, work: Callable[..., Outcome], *arguments: Any) -> Any:
        """Start `work(*arguments)` as a task as soon as there is a machine; the task."""

    def done(self, task: Any) -> bool:
        """Whether a task ended, successfully or not."""

    def outcome(self, task: Any) -> Outcome:
        """The result of a task that ended; LostError if it has none."""

    def stop(self, tasks: Sequence[Any]) -> None:
        """Cancel tasks, and stop the engine."""


def start(engine: str, cpus: int, gpus: int, address: str | None, hours: int) -> Engine:
    """Start an engine: ray; slurm; or local, which runs Slurm's jobs as processes of this machine.

    Args:
        cpus, gpus: of each experiment.
        address: of a running Ray cluster, host:port; None for RAY_ADDRESS, or else a new Ray on this machine.
        hours: the time limit of an experiment on Slurm.

    Raises:
        UserError: its package is not installed, or the cluster cannot be reached.
    """
    try:
        return Ray(cpus, gpus, address) if engine == "ray" else Submitit(engine, cpus, gpus, hours)
    except ModuleNotFoundError as error:
        raise UserError(
            f"ENGINE={engine} needs {error.name}, which is not installed: pip install -r requirements-cluster.txt"
        ) from None


def require_reachable(address: str) -> None:
    """Require that a Ray cluster answers at an address; Ray itself would try for minutes, and then exit.

    Raises:
        UserError: it names the address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # `auto`, for which Ray searches quickly
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}); ray start --head prints its address") from None


class Ray:
    """Runs experiments as tasks of Ray, on this machine or a cluster."""

    def __init__(self, cpus: int, gpus: int, address: str | None) -> None:
        address = address or os.environ.get("RAY_ADDRESS")
        # For a Ray that is started here: send no usage statistics, and kill the processes of a killed worker, and
        # hide GPUs from who asks for none. The nodes of a cluster have to be started with the last two.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_process_group_cleanup_enabled", "1")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # who asks for no GPU sees none
        import ray
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(src)
        if address:
            require_reachable(address)
        try:
            # "local", because None may join the Ray of another sweep, even one that was killed.
            ray.init(
                address=address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"Ray could not be started or reached: {' '.join(str(error).split())}; if its nodes ask for a token:"
                " export RAY_AUTH_MODE=token"
            ) from None
        resources = ray.cluster_resources()
        all_cpus, all_gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        if not address and (all_cpus < cpus or all_gpus < gpus):
            ray.shutdown()
            raise UserError(f"CPUS={cpus} GPUS={gpus}: this machine has {all_cpus:g} CPUs and {all_gpus:g} GPUs")
        self.ray, self.resources = ray, {"num_cpus": cpus, "num_gpus": gpus}

    def submit(self, name: str, work: Callable[..., Outcome], *arguments: Any) -> Any:
        # No retries by Ray: the sweep itself tries tasks again, and prints that.
        return self.ray.remote(work).options(name=name, max_retries=0, **self.resources).remote(*arguments)

    def done(self, task: Any) -> bool:
        return bool(self.ray.wait([task], timeout=0)[0])

    def outcome(self, task: Any) -> Outcome:
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            return False, str(error)
        except self.ray.exceptions.RayError as error:
            raise LostError(str(error).strip().splitlines()[0]) from None

    def stop(self, tasks: Sequence[Any]) -> None:
        for task in tasks:
            self.ray.cancel(task)
        if tasks:
            self.ray.wait(list(tasks), num_returns=len(tasks), timeout=STOP_TIMEOUT)
        self.ray.shutdown()


class Submitit:
    """Runs experiments as jobs of Slurm, or as processes of this machine."""

    def __init__(self, engine: str, cpus: int, gpus: int, hours: int) -> None:
        import cloudpickle
        import submitit

        cloudpickle.register_pickle_by_value(src)
        if engine == "slurm" and shutil.which("sbatch") is None:
            raise UserError("ENGINE=slurm: there is no sbatch here; start the sweep where jobs are submitted")
        self.errors, self.slurm = submitit.core.utils, engine == "slurm"
        self.listed: set[str] = set()  # ids of the jobs in Slurm's queue, as of the last `squeue`
        self.next_squeue = 0.0
        self.executor = submitit.AutoExecutor(LOGS.absolute() / "%j", cluster=engine)
        # Without srun, whose job steps would see one CPU, whatever the job requested.
        self.executor.update_parameters(timeout_min=60 * hours, cpus_per_task=cpus, slurm_use_srun=False)
        if gpus:
            self.executor.update_parameters(gpus_per_node=gpus)

    def submit(self, name: str, work: Callable[..., Outcome], *arguments: Any) -> Any:
        self.executor.update_parameters(name=name)
        try:
            job = self.executor.submit(work, *arguments)
        except self.errors.FailedJobError as error:
            raise UserError(f"Slurm takes no job: {' '.join(str(error).split())}") from None
        self.listed.add(job.job_id)
        return job

    def done(self, task: Any) -> bool:
        """Whether a job left a result or, since a killed job leaves none, is no longer in Slurm's queue.

        submitit itself reads Slurm's accounting, which not every cluster has, and only every ten minutes.
        """
        if not self.slurm or task.paths.result_pickle.exists():
            return task.done()
        if time.monotonic() >= self.next_squeue:
            self.next_squeue = time.monotonic() + SQUEUE_EVERY
            squeue = subprocess.run(["squeue", "--noheader", "--me", "--format=%A"], capture_output=True, text=True)  # noqa: S607
            if squeue.returncode == 0:
                self.listed = set(squeue.stdout.split())
        return task.job_id not in self.listed

    def outcome(self, task: Any) -> Outcome:
        if not task.paths.result_pickle.exists():
            raise LostError(f"job {task.job_id} left no result; what it printed is in {task.paths.folder}")
        try:
            return task.result()
        except self.errors.FailedJobError as error:
            return False, str(error)

    def stop(self, tasks: Sequence[Any]) -> None:
        for task in tasks:
            task.cancel(check=False)
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline and not all(self.done(task) for task in tasks):
            time.sleep(0.2)
