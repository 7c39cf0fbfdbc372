"""Where the experiments of a sweep run besides DVC's queue: as tasks of Ray, or as jobs of Slurm.

Both engines have the same four methods. A task is started on a machine with the CPUs and GPUs that were asked for;
whether it failed is its own answer, and that it vanished is the engine's.
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

Outcome = tuple[bool, str]  # whether the experiment was brought back, and what it printed
LOGS = Path(".dvc") / "tmp" / "submitit"
ASK = 10.0  # seconds between questions for the list of jobs, which many people ask of one machine
PATIENCE = 15.0  # seconds that cancelled tasks have to end what they started


class LostError(Exception):
    """A task ended without an answer: its process was killed, or its machine went away."""


class Engine(Protocol):
    """What runs tasks."""

    def submit(self, name: str, work: Callable[..., Outcome], *arguments: Any) -> Any:
        """Start a task, or have it wait for a machine, and return what stands for it."""

    def done(self, task: Any) -> bool:
        """Whether it ended, in whatever way."""

    def outcome(self, task: Any) -> Outcome:
        """What an ended task answered; LostError if it could not."""

    def stop(self, tasks: Sequence[Any]) -> None:
        """End these tasks, and whatever was started for the sweep."""


def start(engine: str, cpus: int, gpus: int, address: str | None, hours: int) -> Engine:
    """The engine of this name: ray; slurm; or local, Slurm's jobs as processes of this machine.

    Args:
        cpus, gpus: of each experiment.
        address: of a running Ray cluster, host:port; None for RAY_ADDRESS, or else a Ray on this machine.
        hours: after which Slurm ends an experiment.

    Raises:
        UserError: its package is not installed, or what it needs is not there.
    """
    try:
        return Ray(cpus, gpus, address) if engine == "ray" else Submitit(engine, cpus, gpus, hours)
    except ModuleNotFoundError as error:
        raise UserError(
            f"ENGINE={engine} needs {error.name}, which is not installed: pip install -r requirements-cluster.txt"
        ) from None


def require_reachable(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself tries for minutes, and then exits.

    Raises:
        UserError: naming the address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # auto: Ray looks for itself, and is quick about it
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}); ray start --head prints its address") from None


class Ray:
    """Every experiment is a task of Ray, here or on a cluster."""

    def __init__(self, cpus: int, gpus: int, address: str | None) -> None:
        address = address or os.environ.get("RAY_ADDRESS")
        # Read by the Ray that is started here: no figures are sent to its makers, and what a killed worker had started
        # is killed too. A cluster's own nodes have to be started with the latter.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_process_group_cleanup_enabled", "1")
        import ray
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(src)
        if address:
            require_reachable(address)
        try:
            # "local", as None may also join what another sweep started, or left a note of when it was killed.
            ray.init(
                address=address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"Ray could not be started or reached: {' '.join(str(error).split())}; if its nodes ask for a token:"
                " export RAY_AUTH_MODE=token"
            ) from None
        have = ray.cluster_resources()
        if not address and (have.get("CPU", 0) < cpus or have.get("GPU", 0) < gpus):
            ray.shutdown()
            raise UserError(
                f"CPUS={cpus} GPUS={gpus}: this machine has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs"
            )
        self.ray, self.resources = ray, {"num_cpus": cpus, "num_gpus": gpus}

    def submit(self, name: str, work: Callable[..., Outcome], *arguments: Any) -> Any:
        # Tasks are tried again by the sweep, which says so, and not by Ray.
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
            self.ray.wait(list(tasks), num_returns=len(tasks), timeout=PATIENCE)
        self.ray.shutdown()


class Submitit:
    """Every experiment is a job of Slurm, or of this machine."""

    def __init__(self, engine: str, cpus: int, gpus: int, hours: int) -> None:
        import cloudpickle
        import submitit

        cloudpickle.register_pickle_by_value(src)
        if engine == "slurm" and shutil.which("sbatch") is None:
            raise UserError("ENGINE=slurm: there is no sbatch here; start the sweep where jobs are submitted")
        self.errors, self.slurm = submitit.core.utils, engine == "slurm"
        self.listed: set[str] = set()  # the jobs that Slurm had when it was last asked
        self.due = 0.0
        self.executor = submitit.AutoExecutor(LOGS.absolute() / "%j", cluster=engine)
        # Without srun, which has a Slurm job step see one CPU, whatever the job asked for.
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
        """By the result or, as a job that was killed leaves none, by Slurm's list.

        submitit itself asks Slurm's accounting, which not every cluster has, and that every ten minutes.
        """
        if not self.slurm or task.paths.result_pickle.exists():
            return task.done()
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + ASK
            asked = subprocess.run(["squeue", "--noheader", "--me", "--format=%A"], capture_output=True, text=True)  # noqa: S607
            if asked.returncode == 0:
                self.listed = set(asked.stdout.split())
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
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit and not all(self.done(task) for task in tasks):
            time.sleep(0.2)
