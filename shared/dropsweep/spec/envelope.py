"""What a message on the queue `submissions` says: a whole job file, or where one lies, and what goes with it.

Three forms, none of which can be taken for another:

- a job file as it is, in which the keys of `WITH_IT` may stand beside the file's own;
- `{"job": …}`, the job file as a mapping or as text, with those keys beside it;
- `{"blob": "container/path"}`, a job file that lies in storage, with those keys beside it.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dropsweep.errors import Problem
from dropsweep.names import DEFAULT_NAME, HOST_CONTAINERS, RUNS, is_reply_queue, is_submission_id
from dropsweep.spec.document import Document, read_document
from dropsweep.spec.problems import error, missing, nearest, tidy

WITH_IT: Final = ("workspace", "experiment", "submission_id", "reply_to")
"""The keys that no job file has and that say where it belongs and who wants to hear of it."""
_JOB: Final = "job"
_BLOB: Final = "blob"
_MAX_PATH: Final = 1024
# Possessive: blanks belong to both parts, and to try each division of them would take seconds.
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]++={0,2}\s*+")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One submission as it came.

    Attributes:
        document: the job file; without data where it is wrong, or lies in storage.
        blob: container and path of a job file that lies in storage.
        workspace: as given, or the default.
        experiment: as given; None: the job file decides.
        submission_id, reply_to: as given; empty where absent, or where they are none.
        is_base64: the message came in base64.
        problems: what is wrong with it beside the job file.
    """

    document: Document = field(default_factory=lambda: Document(None, ()))
    blob: tuple[str, str] | None = None
    workspace: str = DEFAULT_NAME
    experiment: str | None = None
    submission_id: str = ""
    reply_to: str = ""
    is_base64: bool = False
    problems: tuple[Problem, ...] = ()


def read_envelope(body: bytes) -> Envelope:
    """Reads a message; returns problems and raises nothing, whatever the bytes."""
    plain, is_base64 = _plain(body)
    is_json = plain.lstrip()[:1] in (b"{", b"[")
    document = read_document(plain, file_name="message.json" if is_json else "message.yaml")
    if document.data is None:
        return Envelope(document, is_base64=is_base64)
    data = dict(document.data)
    given = {key: data.pop(key) for key in WITH_IT if key in data}
    problems = [problem for key, value in given.items() if (problem := _unfit(key, value)) is not None]
    fit = {key: value for key, value in given.items() if isinstance(value, str) and value}
    envelope = Envelope(
        workspace=fit.get("workspace", DEFAULT_NAME),
        experiment=fit.get("experiment"),
        submission_id=fit["submission_id"] if is_submission_id(fit.get("submission_id", "")) else "",
        reply_to=fit["reply_to"] if is_reply_queue(fit.get("reply_to", "")) else "",
        is_base64=is_base64,
    )
    if _JOB not in data and _BLOB not in data:
        return replace(envelope, document=Document(data, document.problems), problems=tidy(problems))
    problems += [problem for problem in document.problems if not problem.path.startswith(f"{_JOB}.")]
    problems += [_unknown(key, data[key]) for key in data if key not in (_JOB, _BLOB)]
    if _JOB in data and _BLOB in data:
        problems.append(missing(_BLOB, "stands beside `job`: a submission has one job file", "Remove one of them"))
    if _JOB in data:
        return replace(envelope, document=_inline(data[_JOB], document.problems), problems=tidy(problems))
    blob = _split(data[_BLOB])
    if blob is None:
        rule = (
            f"is a job file's container and path, such as job-files/digits.yaml, and neither in `{RUNS}` nor in the "
            "Functions host's own containers"
        )
        problems.append(error(_BLOB, data[_BLOB], rule, "Correct it"))
    return replace(envelope, blob=blob, problems=tidy(problems))


def _plain(body: bytes) -> tuple[bytes, bool]:
    """Returns what a message in base64 holds, or the message. No job file is both: it has a colon, base64 has none."""
    if _BASE64.fullmatch(body) is None:
        return body, False
    try:
        return base64.b64decode(b"".join(body.split()), validate=True), True
    except binascii.Error:
        return body, False


def _inline(job: Any, problems: tuple[Problem, ...]) -> Document:
    if isinstance(job, str):
        return read_document(job.encode(errors="surrogatepass"), file_name="job.yaml")
    if not isinstance(job, dict):
        return Document(None, (error(_JOB, job, "is a job file, as a mapping or as text", "Correct it"),))
    prefix = f"{_JOB}."
    own = [problem for problem in problems if problem.path.startswith(prefix)]
    return Document(dict(job), tuple(replace(problem, path=problem.path.removeprefix(prefix)) for problem in own))


def _unfit(key: str, value: Any) -> Problem | None:
    if isinstance(value, str) and value:
        if key in ("workspace", "experiment"):
            return None  # `accept` tells the rule
        if (is_submission_id if key == "submission_id" else is_reply_queue)(value):
            return None
    rules = {
        "submission_id": ("is 1 to 128 ASCII characters without spaces and quotes", "Send a UUID, or a digest"),
        "reply_to": ("is the name of a queue, and none that Dropsweep itself reads", "Name a queue of your own"),
    }
    return error(key, value, *rules.get(key, ("is a name, as text", "Put it in quotes")))


def _unknown(key: str, value: Any) -> Problem:
    close = nearest(key, (_JOB, _BLOB, *WITH_IT))
    remedy = f"Did you mean `{close}`" if close else f"Put it into `{_JOB}`, or remove it"
    return error(key, value, f"is no key of a submission beside `{_JOB}` or `{_BLOB}`", remedy)


def _split(blob: Any) -> tuple[str, str] | None:
    if not isinstance(blob, str):
        return None
    container, _, path = blob.partition("/")
    is_path = 0 < len(path) <= _MAX_PATH and not {"", ".", ".."} & set(path.split("/"))
    is_container = re.fullmatch(r"[a-z0-9](?:-?[a-z0-9]){2,62}", container) is not None
    is_own = container == RUNS or container.startswith(HOST_CONTAINERS)
    return (container, path) if is_container and is_path and not is_own else None
