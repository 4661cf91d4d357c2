"""What rules a warm start out: what works before the script's first line works on the template, long ago.

All of it is decided from names and values alone; who asks has looked them up.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

_BEFORE_IMPORTS: Final = (
    *("LD_", "DYLD_", "GLIBC_", "MALLOC_", "LC_", "LANG", "LOCPATH", "GCONV_", "NLSPATH", "OPENSSL_"),
    *("PYTHON", "VIRTUAL_ENV", "CONDA_", "__PYVENV"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NUMEXPR_", "VECLIB_", "DNNL_", "ONEDNN_"),
    *("TORCH", "PYTORCH", "ATEN_", "NUMPY_", "NPY_"),
)
"""How names begin that the C library, an interpreter or a library reads at its start, or may."""
_READ_BY: Final = {"transformers": ("HF_", "HUGGINGFACE_"), "datasets": ("HF_",), "tensorflow": ("TF_", "XLA_")}
"""Further such beginnings by the module that reads them; those that are the module's name need none."""
_SHELL: Final = frozenset(
    {"CDPATH", "COLUMNS", "COMP_WORDBREAKS", "DIRSTACK", "ENV", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "EXECIGNORE"}
    | {"FUNCNAME", "FUNCNEST", "GLOBIGNORE", "GROUPS", "HISTCMD", "IFS", "LINENO", "LINES", "OLDPWD", "OPTARG"}
    | {"OPTERR", "OPTIND", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PS4", "PWD", "RANDOM", "SECONDS", "SHELLOPTS"}
    | {"SHLVL", "SRANDOM", "TMOUT", "UID", "_"}
)
"""Names that a shell reads, or sets for what it starts."""
_ALLOCATOR: Final = frozenset({"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"})
_FRACTION: Final = "per_process_memory_fraction:"
"""An option in these that only what computes on a GPU reads: it is another one in another slot, or alone.
Source: PyTorch, c10/cuda/CUDAAllocatorConfig.h, instance()."""
_EACH_ITS_OWN: Final = frozenset({"CUDA_VISIBLE_DEVICES", "HOME", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "USER"})
"""Names that have another value in each trial or slot, and that a library looks up again when it needs them."""


def ruling_out(
    asked: Mapping[str, str], template: Mapping[str, str], preload: Iterable[str], read: Collection[str] = ()
) -> str | None:
    """Returns the name of a variable that must be set before something that the template has done; None: there is none.

    Args:
        asked: all variables of the trial.
        template: those that the template was started for.
        preload: the modules that it was to import.
        read: the variables that were looked for meanwhile.
    """
    beginnings = _beginnings(preload)
    for name in sorted({*asked, *template}):
        if name in _SHELL or name.startswith("BASH"):
            return name
        is_early = name.startswith(beginnings) or (name in read and name not in _EACH_ITS_OWN)
        if is_early and _early_part(name, asked) != _early_part(name, template):
            return name
    return None


def shadowed(files: Iterable[str], packages: Iterable[str], imported: Collection[str]) -> str | None:
    """Returns the name of a module that the script would import from its own folder, and the template has; or None.

    Args:
        files: names of the files in a folder that is searched before the installed packages.
        packages: names of the folders in it that have an `__init__` file: without one, a folder is searched last.
        imported: the modules that the template has imported, without those inside of packages.
    """
    names = {file.partition(".")[0] for file in files if file.endswith((".py", ".pyc", ".so"))} | set(packages)
    return min(names.intersection(imported), default=None)


def _early_part(name: str, variables: Mapping[str, str]) -> str | None:
    """What of a variable is read before the script's first line, or may be; None: nothing."""
    value = variables.get(name)
    if value is None or name not in _ALLOCATOR:
        return value
    return ",".join(option for option in value.split(",") if not option.strip().startswith(_FRACTION)) or None


def _beginnings(preload: Iterable[str]) -> tuple[str, ...]:
    modules = {module.partition(".")[0] for module in preload}
    # Ours reads its variables when it is used.
    own = {f"{module.upper()}_" for module in modules if module != "dropsweep"}
    others = {beginning for module in modules for beginning in _READ_BY.get(module, ())}
    return (*_BEFORE_IMPORTS, *own, *others)
