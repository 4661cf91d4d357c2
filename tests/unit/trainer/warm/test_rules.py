import pytest

from dropsweep_trainer.warm.rules import ruling_out, shadowed

NODE = {"PATH": "/bin", "OMP_NUM_THREADS": "2", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def test_what_a_trial_has_beside_its_node_is_no_hindrance() -> None:
    trial = {
        **NODE,
        "HOME": "/x",
        "TMPDIR": "/x/tmp",
        "DROPSWEEP_PARAMS": "{}",
        "CUDA_VISIBLE_DEVICES": "1",
        "WANDB_X": "y",
    }
    assert ruling_out(trial, {**NODE, "CUDA_VISIBLE_DEVICES": "0"}, ("torch",)) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "OPENSSL_CONF",
            "DYLD_INSERT_LIBRARIES",
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "KMP_AFFINITY",
        ),
        *(
            "OPENBLAS_NUM_THREADS",
            "PYTHONHASHSEED",
            "PYTHONPATH",
            "PYTHONOPTIMIZE",
            "LC_ALL",
            "LANG",
            "MALLOC_ARENA_MAX",
        ),
        *("GLIBC_TUNABLES", "VIRTUAL_ENV", "CONDA_PREFIX", "TORCH_LOGS", "PYTORCH_CUDA_ALLOC_CONF", "NPY_DISABLE_CPU"),
    ],
)
def test_what_is_read_before_the_script_must_be_as_the_node_gives_it(name: str) -> None:
    assert ruling_out({**NODE, name: "other"}, NODE, ("torch",)) == name
    assert ruling_out(NODE, {**NODE, name: "other"}, ("torch",)) == name
    same = {**NODE, name: "other"}
    assert ruling_out(same, same, ("torch",)) is None


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"])
def test_a_trial_s_part_of_its_gpu_s_memory_may_be_another_than_the_template_s(name: str) -> None:
    half, third = "per_process_memory_fraction:0.5", "per_process_memory_fraction:0.333"
    for asked, template in [
        ({name: half}, {}),
        ({}, {name: half}),
        ({name: half}, {name: third}),
        ({name: f"backend:native,{half}"}, {name: f"{third},backend:native"}),
    ]:
        assert ruling_out({**NODE, **asked}, {**NODE, **template}, ("torch",)) is None
    for value in ("expandable_segments:True", f"{half},backend:cudaMallocAsync"):
        assert ruling_out({**NODE, name: value}, {**NODE, name: half}, ("torch",)) == name
    assert ruling_out({**NODE, "PYTORCH_X": half}, NODE, ("torch",)) == "PYTORCH_X"


@pytest.mark.parametrize(
    "name", ["BASH_ENV", "BASH_FUNC_python%%", "ENV", "IFS", "SHELLOPTS", "CDPATH", "UID", "PWD", "_"]
)
def test_what_a_shell_makes_something_of_is_left_to_it_even_if_the_node_gives_it(name: str) -> None:
    same = {**NODE, name: "x"}
    assert ruling_out(same, same, ()) == name


def test_what_a_preloaded_module_reads_counts_too() -> None:
    for name in ("MYLIB_DEBUG", "HF_HOME", "TRANSFORMERS_CACHE"):
        assert ruling_out({**NODE, name: "x"}, NODE, ("torch",)) is None
        assert ruling_out({**NODE, name: "x"}, NODE, ("mylib.part", "transformers")) == name


def test_our_own_module_reads_nothing_before_it_is_used() -> None:
    assert ruling_out({**NODE, "DROPSWEEP_TRIAL": "1"}, NODE, ("dropsweep",)) is None


def test_a_module_of_the_script_s_own_that_has_the_name_of_an_imported_one_is_found() -> None:
    imported = {"torch", "random", "json"}
    assert shadowed(["train.py", "random.py"], [], imported) == "random"
    assert shadowed(["json.cpython-311-x86_64-linux-gnu.so"], [], imported) == "json"
    assert shadowed(["train.py"], ["torch"], imported) == "torch"
    assert shadowed(["random.txt", "torch", "data.py"], ["data"], imported) is None
