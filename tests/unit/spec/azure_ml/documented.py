"""Every key that Azure ML documents for its command, sweep and schedule files, written by hand from its reference.

A path names a key as a file has it: `*` stands for a name that the author chooses, `(bandit)` for the kind that `type`
names, and `=direct` for one of the values that the reference lists.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-job-command (14 April 2025),
    …/reference-yaml-job-sweep (3 December 2024), …/reference-yaml-schedule (17 May 2023),
    …/reference-yaml-environment (for an inline environment) and …/reference-yaml-core-syntax (for the expressions and
    the paths of inputs). A key that stands in the schemas of the
    package azure-ai-ml 1.35 alone is marked by a comment.
"""

from collections.abc import Iterator
from typing import Any, Final

_ENVIRONMENT: Final = """
    environment environment.$schema environment.name environment.version environment.description environment.tags
    environment.tags.* environment.image environment.conda_file
    environment.build environment.build.path environment.build.dockerfile_path
    environment.os_type environment.inference_config
    environment.inference_config.liveness_route environment.inference_config.liveness_route.path
    environment.inference_config.liveness_route.port
    environment.inference_config.readiness_route environment.inference_config.readiness_route.path
    environment.inference_config.readiness_route.port
    environment.inference_config.scoring_route environment.inference_config.scoring_route.path
    environment.inference_config.scoring_route.port
"""
_DISTRIBUTION: Final = """
    distribution distribution(mpi).type distribution(mpi).process_count_per_instance
    distribution(pytorch).type distribution(pytorch).process_count_per_instance
    distribution(tensorflow).type distribution(tensorflow).worker_count distribution(tensorflow).parameter_server_count
"""
_INPUTS_AND_OUTPUTS: Final = """
    inputs inputs.* inputs.*.type inputs.*.path inputs.*.mode
    inputs.*.type=uri_file inputs.*.type=uri_folder inputs.*.type=mlflow_model
    inputs.*.mode=ro_mount inputs.*.mode=download inputs.*.mode=direct
    outputs outputs.* outputs.*.type outputs.*.mode
    outputs.*.type=uri_folder outputs.*.type=mlflow_model outputs.*.mode=rw_mount outputs.*.mode=upload
    outputs.*.path outputs.*.name outputs.*.version
"""
"""`path` of an output is in the core syntax, `name` and `version` only in the package's schema."""
_OF_BOTH: Final = """
    $schema type name display_name experiment_name description tags tags.* compute limits limits.timeout
    identity identity(user_identity).type identity(managed).type identity(managed_identity).type
"""

COMMAND_KEYS: Final = frozenset(
    f"""
    {_OF_BOTH} {_ENVIRONMENT} {_DISTRIBUTION} {_INPUTS_AND_OUTPUTS}
    command code environment_variables environment_variables.*
    distribution(ray).type distribution(ray).address distribution(ray).port distribution(ray).dashboard_port
    distribution(ray).include_dashboard distribution(ray).head_node_additional_args
    distribution(ray).worker_node_additional_args
    resources resources.instance_count resources.instance_type resources.shm_size resources.docker_args
    resources.locations resources.max_instance_count
    inputs.*.type=custom_model inputs.*.mode=eval_download inputs.*.mode=eval_mount outputs.*.type=custom_model
    queue_settings queue_settings.job_tier queue_settings.priority
    services services.* services(ssh).type services(tensor_board).type services(vs_code).type services(jupyter_lab).type
    identity(aml_token).type
    """.split()
) | {"properties", "properties.*"}  # in the package's schema alone

SWEEP_KEYS: Final = frozenset(
    f"""
    {_OF_BOTH} {_INPUTS_AND_OUTPUTS} inputs.*.type=mltable outputs.*.type=uri_file outputs.*.type=mltable
    sampling_algorithm sampling_algorithm=random sampling_algorithm=grid sampling_algorithm=bayesian
    sampling_algorithm(random).type sampling_algorithm(random).seed sampling_algorithm(random).rule
    sampling_algorithm(random).rule=random sampling_algorithm(random).rule=sobol
    sampling_algorithm(grid).type sampling_algorithm(bayesian).type
    search_space search_space.*
    search_space.*(choice).type search_space.*(choice).values
    search_space.*(randint).type search_space.*(randint).upper
    search_space.*(uniform).type search_space.*(uniform).min_value search_space.*(uniform).max_value
    search_space.*(loguniform).type search_space.*(loguniform).min_value search_space.*(loguniform).max_value
    search_space.*(quniform).type search_space.*(quniform).min_value search_space.*(quniform).max_value
    search_space.*(quniform).q
    search_space.*(qloguniform).type search_space.*(qloguniform).min_value search_space.*(qloguniform).max_value
    search_space.*(qloguniform).q
    search_space.*(normal).type search_space.*(normal).mu search_space.*(normal).sigma
    search_space.*(lognormal).type search_space.*(lognormal).mu search_space.*(lognormal).sigma
    search_space.*(qnormal).type search_space.*(qnormal).mu search_space.*(qnormal).sigma search_space.*(qnormal).q
    search_space.*(qlognormal).type search_space.*(qlognormal).mu search_space.*(qlognormal).sigma
    search_space.*(qlognormal).q
    objective objective.primary_metric objective.goal objective.goal=maximize objective.goal=minimize
    early_termination
    early_termination(bandit).type early_termination(bandit).slack_factor early_termination(bandit).slack_amount
    early_termination(bandit).evaluation_interval early_termination(bandit).delay_evaluation
    early_termination(median_stopping).type early_termination(median_stopping).evaluation_interval
    early_termination(median_stopping).delay_evaluation
    early_termination(truncation_selection).type early_termination(truncation_selection).truncation_percentage
    early_termination(truncation_selection).evaluation_interval early_termination(truncation_selection).delay_evaluation
    limits.max_total_trials limits.max_concurrent_trials limits.trial_timeout
    trial trial.command trial.code trial.environment trial.environment_variables trial.environment_variables.*
    {" ".join(f"trial.{key}" for key in (_ENVIRONMENT + _DISTRIBUTION).split())}
    trial.resources trial.resources.instance_count
    """.split()
) | {
    "sampling_algorithm(random).logbase",  # this line and the next: in the package's schema alone
    *("resources", "resources.instance_type", "queue_settings", "queue_settings.job_tier"),
}

_OF_TRIGGERS: Final = " ".join(
    f"trigger({kind}).{key}"
    for kind in ("cron", "recurrence")
    for key in ("type", "start_time", "end_time", "time_zone")
)
SCHEDULE_KEYS: Final = frozenset(
    f"""
    $schema name description tags tags.* trigger create_job {_OF_TRIGGERS} trigger(cron).expression
    trigger(recurrence).frequency trigger(recurrence).interval trigger(recurrence).schedule
    trigger(recurrence).frequency=minute trigger(recurrence).frequency=hour trigger(recurrence).frequency=day
    trigger(recurrence).frequency=week trigger(recurrence).frequency=month
    trigger(recurrence).schedule.hours trigger(recurrence).schedule.minutes trigger(recurrence).schedule.week_days
    trigger(recurrence).timezone trigger(recurrence).pattern
    trigger(recurrence).pattern.hours trigger(recurrence).pattern.minutes
    create_job.type create_job.job create_job.experiment_name
    create_job.inputs create_job.inputs.* create_job.inputs.*.type create_job.inputs.*.path create_job.inputs.*.mode
    create_job.outputs create_job.outputs.* create_job.outputs.*.type create_job.outputs.*.path
    create_job.outputs.*.mode
    create_job.settings create_job.settings.default_datastore create_job.settings.default_compute
    create_job.settings.continue_on_step_failure
    """.split()
) | {
    *("display_name", "version", "properties", "properties.*"),  # this line and the next: in the package's schema alone
    *("trigger(recurrence).schedule.month_days", "create_job.command", "create_job.display_name", "create_job.jobs"),
}
"""The page has `timezone` and `pattern` in its tables, and `time_zone` and `schedule` in its examples and its schema.

A job under `create_job` may have every key of its own file, some of which stand here.
"""

_CHOSEN: Final = ("inputs", "outputs", "search_space", "tags", "environment_variables", "services", "properties")
"""Under these keys stand names that the author chooses."""
_OF_A_KIND: Final = ("trigger", "distribution", "sampling_algorithm", "early_termination", "identity")
_LISTED: Final = ("frequency", "rule", "goal", "sampling_algorithm")


def keys_in(data: Any, path: str = "") -> Iterator[str]:
    """Yields the paths of the keys in a file's tree, in the form of the tables above."""
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        last = path.rpartition(".")[2]
        place = f"{path}.*" if last in _CHOSEN else f"{path}.{key}" if path else key
        yield place
        is_of_data = key in ("type", "mode") and place.startswith(("inputs", "outputs"))
        if isinstance(value, str) and (key in _LISTED or is_of_data):
            yield f"{place}={value}"
        kind = value.get("type") if isinstance(value, dict) else None
        if last == "services":
            yield f"services({kind}).type"
        elif last in ("tags", "environment_variables", "properties") or key == "conda_file":
            continue  # free contents
        elif kind is not None and (key in _OF_A_KIND or last == "search_space"):
            yield from keys_in(value, f"{place}({kind})")
        else:
            yield from keys_in(value, place)
