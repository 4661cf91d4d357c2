"""What reading each file in sweep/ must tell, written by hand from the reference and docs/job-file.md."""

from typing import Any, Final

from tests.unit.spec.azure_ml.expectations import (
    FILE_OR_FOLDER,
    IMAGE_IS_THE_CLUSTER_S,
    MOUNT_OR_DOWNLOAD,
    NO_ASSET,
    NOT_BUILT,
    NOT_DISTRIBUTED,
    NOT_STOPPED_EARLY,
    ONE_OF_THESE,
    OPENMPI_IS_THE_CLUSTER_S,
    OUTPUT_STAYS,
    OWN_IDENTITY,
    TIER_IS_THE_CLUSTER_S,
    Expected,
    accepted,
    refused,
)

_OF_THE_GRIDS: Final[dict[str, Any]] = {
    "command": (
        "python train.py ${{search_space.optimizer.name}} ${{search_space.optimizer.momentum}} ${{search_space.seed}}"
    ),
    "search_space": {
        "optimizer": {
            "type": "choice",
            "values": [
                {"name": "adam", "momentum": 0.9},
                {"name": "sgd", "momentum": {"type": "choice", "values": [0, 0.5, 0.9]}},
            ],
        },
        "seed": {"type": "choice", "values": [1, 2]},
    },
    "sampling": {"algorithm": "grid", "rule": "random", "seed": 11},
}
_NOT_BAYESIAN: Final = (
    'sampling_algorithm is "bayesian": bayesian sampling is not supported yet. '
    "Write `random`, or `{type: random, rule: sobol}`."
)

SWEEP_FILES: Final[dict[str, Expected]] = {
    "least": accepted(objective={"goal": "minimize", "primary_metric": "loss"}),
    "every_parameter": accepted(
        name="digits",
        display_name="Digits, every kind of parameter",
        description="One parameter of each kind.",
        tags={"team": "vision"},
        command=(
            "python train.py --data ${{inputs.data}} --epochs ${{inputs.epochs}} --model ${{outputs.model}} "
            "${{search_space.batch_size}} ${{search_space.num_layers}} ${{search_space.dropout}} "
            "${{search_space.width}} ${{search_space.lr}} ${{search_space.num_trees}} ${{search_space.noise}} "
            "${{search_space.shift}} ${{search_space.decay}} ${{search_space.patience}}"
        ),
        code="digits/src",
        environment_variables={"OMP_NUM_THREADS": "1"},
        inputs={"data": {"type": "uri_folder", "container": "data", "blob": "digits"}, "epochs": 5},
        outputs=["model", "plots"],
        search_space={
            "batch_size": {"type": "choice", "values": [16, 32, 64]},
            "num_layers": {"type": "randint", "upper": 5},
            "dropout": {"type": "uniform", "min_value": 0, "max_value": 0.5},
            "width": {"type": "quniform", "min_value": 32, "max_value": 256, "q": 32},
            "lr": {"type": "loguniform", "min_value": -9.21, "max_value": -2.3},
            "num_trees": {"type": "qloguniform", "min_value": 3, "max_value": 6.5, "q": 10},
            "noise": {"type": "normal", "mu": 0, "sigma": 0.1},
            "shift": {"type": "qnormal", "mu": 10, "sigma": 2.5, "q": 1},
            "decay": {"type": "lognormal", "mu": -6, "sigma": 1},
            "patience": {"type": "qlognormal", "mu": 2, "sigma": 0.5, "q": 2},
        },
        sampling={"algorithm": "random", "rule": "random", "seed": 123},
        limits={"max_total_trials": 20, "max_concurrent_trials": 10, "timeout_s": 7200, "trial_timeout_s": 600},
        num_trials=20,
    ),
    "sobol": accepted(
        'inputs.iris_csv.path is "https://azuremlexamples.blob.core.windows.net/datasets/iris.csv": '
        "is read from the storage account of this deployment, whatever account the address names. "
        "Write datasets/iris.csv.",
        f'trial.environment is "azureml:AzureML-lightgbm-3.3@latest": {IMAGE_IS_THE_CLUSTER_S}',
        command=(
            "python main.py --iris-csv ${{inputs.iris_csv}} --learning-rate ${{search_space.learning_rate}} "
            "--boosting ${{search_space.boosting}}"
        ),
        environment="azureml:AzureML-lightgbm-3.3@latest",
        inputs={"iris_csv": {"type": "uri_file", "container": "datasets", "blob": "iris.csv"}},
        search_space={
            "learning_rate": {"type": "uniform", "min_value": 0.01, "max_value": 0.9},
            "boosting": {"type": "choice", "values": ["gbdt", "dart"]},
        },
        sampling={"algorithm": "random", "rule": "sobol", "seed": 123},
        objective={"goal": "minimize", "primary_metric": "test-multi_logloss"},
        limits={"max_total_trials": 20, "max_concurrent_trials": 10, "timeout_s": 7200, "trial_timeout_s": None},
        num_trials=20,
    ),
    "grid": accepted(
        **_OF_THE_GRIDS,
        limits={"max_total_trials": 8, "max_concurrent_trials": 3, "timeout_s": 5_184_000, "trial_timeout_s": None},
        num_trials=8,  # (adam, and sgd three times), each with two seeds
    ),
    "grid_cut_short": accepted(
        **_OF_THE_GRIDS,
        limits={"max_total_trials": 5, "max_concurrent_trials": 5, "timeout_s": 5_184_000, "trial_timeout_s": None},
        num_trials=5,
    ),
    "without_effect": accepted(
        OWN_IDENTITY,
        'resources.instance_type is "Standard_NC6s_v3": has no effect: the cluster\'s machine is used. Remove the key.',
        f"trial.{OPENMPI_IS_THE_CLUSTER_S}",
        f'queue_settings.job_tier is "standard": {TIER_IS_THE_CLUSTER_S}',
        environment="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
    ),
    "identity_user": accepted(OWN_IDENTITY),
    "identity_managed": accepted(OWN_IDENTITY),
    "bayesian": refused(_NOT_BAYESIAN),
    "bayesian_by_name": refused(_NOT_BAYESIAN),
    "bandit_by_factor": refused(f"early_termination is a mapping of 4: {NOT_STOPPED_EARLY}"),
    "bandit_by_amount": refused(f"early_termination is a mapping of 2: {NOT_STOPPED_EARLY}"),
    "median_stopping": refused(f"early_termination is a mapping of 3: {NOT_STOPPED_EARLY}"),
    "truncation_selection": refused(f"early_termination is a mapping of 4: {NOT_STOPPED_EARLY}"),
    "environment_not_built": refused(
        *(
            f"trial.environment.{key} is {value}: {NOT_BUILT} "
            f"Install the packages in that image or in the command, and remove `{key}`."
            for key, value in [
                ("conda_file", '"conda.yaml"'),
                ("build", "a mapping of 2"),
                ("inference_config", "a mapping of 3"),
            ]
        ),
        "sampling_algorithm.logbase is 10: is not supported: "
        "sampling on a logarithmic scale is a parameter's own property. Remove the key, and write `loguniform`.",
        warnings=(f"trial.{OPENMPI_IS_THE_CLUSTER_S}",),
    ),
    "distribution_mpi": refused(f"trial.distribution is a mapping of 2: {NOT_DISTRIBUTED}"),
    "distribution_pytorch": refused(f"trial.distribution is a mapping of 2: {NOT_DISTRIBUTED}"),
    "distribution_tensorflow": refused(f"trial.distribution is a mapping of 3: {NOT_DISTRIBUTED}"),
    "kinds_not_read": refused(
        f'inputs.model.type is "mlflow_model": {FILE_OR_FOLDER} {ONE_OF_THESE}',
        f'inputs.table.type is "mltable": {FILE_OR_FOLDER} {ONE_OF_THESE}',
        f'inputs.url.mode is "direct": {MOUNT_OR_DOWNLOAD} {ONE_OF_THESE}',
        'outputs.one_file.type is "uri_file": must be `uri_folder`. Did you mean `uri_folder`?',
        f'outputs.table.type is "mltable": must be `uri_folder`. {ONE_OF_THESE}',
        f'outputs.model.type is "mlflow_model": must be `uri_folder`. {ONE_OF_THESE}',
        f'outputs.elsewhere.path is "azureml://datastores/models/paths/digits": {OUTPUT_STAYS}',
        warnings=(
            f'outputs.elsewhere.name is "digits-model": {NO_ASSET}',
            f'outputs.elsewhere.version is "3": {NO_ASSET}',
        ),
    ),
}
