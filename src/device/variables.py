"""Environment variables by which accelerate and PyTorch would change a training behind the settings' back.

`accelerate launch`, containers and job scripts leave them behind. What can be ignored is removed from the environment
of this process before accelerate reads it; what libraries that are loaded already read is refused.
"""

import os

from src.core.errors import UserError

# Of accelerate: gradient accumulation, precision, device, DeepSpeed, FSDP, compilation and the like.
PREFIXES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
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
# Each replaces the precision of matrix products, convolutions or functions that the settings say.
ROUNDING = {
    "cpu": ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    "cuda": ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    "mps": ("PYTORCH_MPS_FAST_MATH",),
}


def drop_leftovers() -> None:
    """Remove what another launcher than torchrun left in the environment, and print its names.

    Raises:
        UserError: the processes were started by MPI, or a number of torchrun's is none.
    """
    launched = all(os.environ.get(name) for name in PROCESSES)
    if launched:
        _require_numbers()
    else:
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
