"""Environment variables by which accelerate and PyTorch would change a training behind the settings' back.

`accelerate launch`, containers and job scripts leave them behind. What can be ignored is removed from the environment
of this process before accelerate reads it; what libraries that are loaded already read is refused.
"""

import os
from contextlib import suppress
from pathlib import Path

from src.core.errors import UserError

# Of accelerate: gradient accumulation, precision, device, DeepSpeed, FSDP, compilation and the like. Of DVCLive: curves
# that go on from earlier ones, or that nobody writes.
PREFIXES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "DVCLIVE_")
FLAGS = ("FORK_LAUNCHED",)  # accelerate sets the device of each forked process by it
# Of torchrun, which sets all of them in each process: what one of them alone means, nobody said.
PROCESSES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
NUMBERS = (*PROCESSES[:3], "LOCAL_WORLD_SIZE")
# Of MPI, which accelerate believes rather than torchrun: the number of processes, and what goes with it.
MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
MPI = (
    *MPI_SIZES,
    "PMI_RANK",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    *(f"{kind}_COMM_WORLD_{name}" for kind in ("OMPI", "MV2") for name in ("RANK", "LOCAL_RANK", "LOCAL_SIZE")),
)
# Programs and modules that start processes with all of torchrun's variables.
LAUNCHERS = {
    "torchrun",
    "accelerate",
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
}
# Each makes the libraries compute by other instructions or algorithms, or share sums among threads in another way, so
# that results differ as between machines. They are recorded as part of the machine.
INSTRUCTIONS = (
    *("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("MKL_CBWR", "MKL_DISABLE_FAST_MM", "MKL_DYNAMIC", "MKL_DOMAIN_NUM_THREADS", "OMP_DYNAMIC", "OMP_THREAD_LIMIT"),
    *("TORCH_LINEAR_FLATTEN_3D", "TORCH_MKLDNN_MATMUL_MIN_DIM", "TORCH_MKLDNN_MATMUL_MIN_SIZE"),
    *("CUBLAS_WORKSPACE_CONFIG", "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_LINALG_PREFER_CUSOLVER"),
    *("TORCH_CUDNN_USE_HEURISTIC_MODE_B", "TORCH_CUDNN_V8_API_DISABLED", "PYTORCH_TUNABLEOP_ENABLED"),
    *("PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_PREFER_METAL"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES"),  # of NumPy and SciPy
)
# Each replaces the precision of matrix products, convolutions or functions that the settings say.
ROUNDING = {
    "cpu": ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    "cuda": ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    "mps": ("PYTORCH_MPS_FAST_MATH",),
}


def drop_leftovers() -> None:
    """Remove what another launcher than torchrun left in the environment, and print its names.

    Raises:
        UserError: the processes were started by MPI or an unknown launcher, or a number of torchrun's is none.
    """
    launched = all(os.environ.get(name) for name in PROCESSES) and _by_torchrun()
    if not launched:
        _require_no_mpi()
    unwanted = (*FLAGS, *MPI, *(() if launched else (*PROCESSES, *NUMBERS)))
    names = sorted(name for name in os.environ if name in unwanted or name.startswith(PREFIXES))
    for name in names:
        del os.environ[name]
    if names:
        print(f"not used, as only settings decide a training: {', '.join(names)} of the environment", flush=True)


def _require_numbers() -> None:
    for name in NUMBERS:
        if not (value := os.environ.get(name, "0")).isdecimal():
            raise UserError(f"{name} = {value} in the environment: allowed is a whole number; torchrun sets it")


def _by_torchrun() -> bool:
    """Whether torchrun started this process, whose variables are all there.

    Raises:
        UserError: they speak of several processes, and no torchrun is there; or one is no number.
    """
    _require_numbers()
    import psutil

    for parent in psutil.Process().parents():
        with suppress(psutil.Error):
            if LAUNCHERS & {Path(word).name for word in parent.cmdline()}:
                return True
    if int(os.environ["WORLD_SIZE"]) > 1:
        raise UserError(
            f"WORLD_SIZE = {os.environ['WORLD_SIZE']} in the environment, but torchrun did not start this process, "
            f"which would wait for others or write the same files; unset {' '.join(PROCESSES)}, or use torchrun"
        )
    return False


def instructions() -> dict[str, str]:
    """The variables that change by which instructions and algorithms libraries compute, with their values."""
    return {name: value for name in INSTRUCTIONS if (value := os.environ.get(name))}


def _require_no_mpi() -> None:
    for name in MPI_SIZES:
        if os.environ.get(name, "1") not in ("", "0", "1"):
            raise UserError(
                f"{name} = {os.environ[name]} in the environment: processes started by MPI would each write the same "
                "files; start them with torchrun, or unset it"
            )


def require_rounding(device: str) -> None:
    """Require that no variable replaces the precision of the settings.

    Raises:
        UserError: it names the first that does.
    """
    for name in ROUNDING[device]:
        if value := os.environ.get(name):
            raise UserError(f"{name} = {value} in the environment replaces the setting precision on {device}; unset it")
