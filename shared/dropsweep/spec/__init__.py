"""The job file: Azure ML's YAML for `type: command` and `type: sweep`, read in one go with every problem told."""

from dropsweep.spec.document import MAX_JOB_FILE_BYTES, Document, read_document
from dropsweep.spec.job import Goal, JobSpec, Limits, Objective, StoredInput
from dropsweep.spec.launch import Launch, launch
from dropsweep.spec.reader import Reading, name_of, read_job
from dropsweep.spec.storage_paths import Reference

__all__ = [
    "MAX_JOB_FILE_BYTES",
    "Document",
    "Goal",
    "JobSpec",
    "Launch",
    "Limits",
    "Objective",
    "Reading",
    "Reference",
    "StoredInput",
    "launch",
    "name_of",
    "read_document",
    "read_job",
]
