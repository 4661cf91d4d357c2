"""What reading each file in command/ must tell, written by hand from the reference and docs/job-file.md."""

from typing import Final

from tests.unit.spec.azure_ml.expectations import (
    FILE_OR_FOLDER,
    IMAGE_IS_THE_CLUSTER_S,
    MOUNT_OR_DOWNLOAD,
    NO_ASSET,
    NOT_BUILT,
    NOT_DISTRIBUTED,
    ONE_OF_THESE,
    OPENMPI_IS_THE_CLUSTER_S,
    OUTPUT_STAYS,
    OWN_IDENTITY,
    TIER_IS_THE_CLUSTER_S,
    UPLOAD,
    Expected,
    accepted,
    refused,
)

COMMAND_FILES: Final[dict[str, Expected]] = {
    "hello": accepted(command='echo "hello, world"'),
    "organised": accepted(
        'experiment_name is "words": the job belongs to the experiment `digits`, in whose folder the file lies. '
        "Drop the file into that experiment's folder, or remove the key.",
        f'environment is "azureml:AzureML-sklearn-1.0@latest": {IMAGE_IS_THE_CLUSTER_S}',
        name="count-words",
        display_name="Count the words",
        description="How often each word stands in a text.",
        tags={"owner": "ada", "runs": "3", "is_final": "false", "note": ""},
        command='python count.py --language "$LANGUAGE_NAME"',
        code="words/src",
        environment="azureml:AzureML-sklearn-1.0@latest",
        environment_variables={"LANGUAGE_NAME": "English", "MIN_LENGTH": "4", "SHARE": "0.5", "IS_STRICT": "true"},
        cluster="gpu",
        limits={"max_total_trials": 1, "max_concurrent_trials": 1, "timeout_s": 600, "trial_timeout_s": None},
    ),
    "inputs_and_outputs": accepted(
        'inputs.start.path is "https://anothername.blob.core.windows.net/models/digits/start%20here": '
        "is read from the storage account of this deployment, whatever account the address names. "
        "Write models/digits/start here.",
        'compute is "local": has no local machine to mean here: the job runs on `cpu`. '
        "Write `azureml:` and one of `cpu` and `gpu`.",
        command=(
            "python train.py "
            "--data ${{inputs.data}} --labels ${{ inputs.labels }} --start ${{inputs.start}} "
            "--lr ${{inputs.learning_rate}} --epochs ${{inputs.num_epochs}} --resume ${{inputs.is_resumed}} "
            "--note ${{inputs.note}} "
            "--model ${{outputs.model}} --plots ${{outputs.plots}} --tables ${{outputs.tables}}"
        ),
        inputs={
            "data": {"type": "uri_folder", "container": "data", "blob": "digits"},
            "labels": {"type": "uri_file", "container": "data", "blob": "digits/labels.csv"},
            "start": {"type": "uri_folder", "container": "models", "blob": "digits/start here"},
            "learning_rate": 0.01,
            "num_epochs": 5,
            "is_resumed": True,
            "note": "first try",
        },
        outputs=["model", "plots", "tables"],
    ),
    "without_effect": accepted(
        "identity is a mapping of 1: has no effect: the trainer's own identity reads inputs and writes results. "
        "Remove the key.",
        "services is a mapping of 4: has no effect: no interactive service is started. Remove the key.",
        "properties is a mapping of 1: has no effect: properties are not kept. Remove the key.",
        'resources.instance_type is "Standard_NC6s_v3": has no effect: the cluster\'s machine is used. Remove the key.',
        'resources.docker_args is "--ipc=host": has no effect: no container is started for a trial. Remove the key.',
        "resources.locations is a list of 2: has no effect: the cluster's region is used. Remove the key.",
        OPENMPI_IS_THE_CLUSTER_S,
        f'queue_settings.job_tier is "spot": {TIER_IS_THE_CLUSTER_S}',
        'resources.shm_size is "2g": has no effect: the cluster\'s own setting is used. Remove the key.',
        environment="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
    ),
    "identity_user": accepted(OWN_IDENTITY),
    "identity_token": accepted(OWN_IDENTITY),
    "identity_managed": accepted(OWN_IDENTITY),
    "environment_from_conda": refused(
        f"environment.conda_file is a mapping of 2: {NOT_BUILT} "
        "Install the packages in that image or in the command, and remove `conda_file`.",
        warnings=(OPENMPI_IS_THE_CLUSTER_S,),
    ),
    "environment_built": refused(
        f"environment.build is a mapping of 2: {NOT_BUILT} "
        "Install the packages in that image or in the command, and remove `build`.",
        f"environment.inference_config is a mapping of 3: {NOT_BUILT} "
        "Install the packages in that image or in the command, and remove `inference_config`.",
        warnings=(f"environment is a mapping of 2: {IMAGE_IS_THE_CLUSTER_S}",),
    ),
    "distribution_mpi": refused(
        "resources.instance_count is 2: more than one node for a trial is not supported yet. Write 1.",
        "resources.max_instance_count is 4: more than one node for a trial is not supported yet. Write 1.",
        f"distribution is a mapping of 2: {NOT_DISTRIBUTED}",
    ),
    "distribution_pytorch": refused(f"distribution is a mapping of 2: {NOT_DISTRIBUTED}"),
    "distribution_tensorflow": refused(f"distribution is a mapping of 3: {NOT_DISTRIBUTED}"),
    "distribution_ray": refused(f"distribution is a mapping of 7: {NOT_DISTRIBUTED}"),
    "places_not_read": refused(
        'code is "./src": a folder on your own machine cannot be read. '
        "Submit the file with `dropsweep submit`, which uploads it, or upload it into `code` and name the folder.",
        f'inputs.asset.path is "azureml:cifar10-data:1": a registered asset is not read. {UPLOAD}',
        f'inputs.latest.path is "azureml:cifar10-data@latest": a registered asset is not read. {UPLOAD}',
        f'inputs.mine.path is "./iris.csv": a path on your own machine cannot be read. {UPLOAD}',
        'inputs.blobs.path is "wasbs://data@account.blob.core.windows.net/digits": '
        f"this kind of address is not read. {UPLOAD}",
        'inputs.lake.path is "abfss://data@account.dfs.core.windows.net/digits": '
        f"this kind of address is not read. {UPLOAD}",
        'inputs.old_lake.path is "adl://account.azuredatalakestore.net/digits": '
        f"this kind of address is not read. {UPLOAD}",
        f'inputs.public.path is "https://example.com/iris.csv": this kind of address is not read. {UPLOAD}',
    ),
    "kinds_not_read": refused(
        f'inputs.model.type is "mlflow_model": {FILE_OR_FOLDER} {ONE_OF_THESE}',
        f'inputs.own_model.type is "custom_model": {FILE_OR_FOLDER} {ONE_OF_THESE}',
        f'inputs.url.mode is "direct": {MOUNT_OR_DOWNLOAD} {ONE_OF_THESE}',
        f'inputs.table.mode is "eval_mount": {MOUNT_OR_DOWNLOAD} Did you mean `ro_mount`?',
        f'inputs.other_table.mode is "eval_download": {MOUNT_OR_DOWNLOAD} Did you mean `download`?',
        f'outputs.model.type is "mlflow_model": must be `uri_folder`. {ONE_OF_THESE}',
        f'outputs.own_model.type is "custom_model": must be `uri_folder`. {ONE_OF_THESE}',
    ),
    "outputs_elsewhere": refused(
        f'outputs.model.path is "azureml://datastores/models/paths/digits": {OUTPUT_STAYS}',
        warnings=(f'outputs.model.name is "digits-model": {NO_ASSET}', f"outputs.model.version is 3: {NO_ASSET}"),
    ),
}
