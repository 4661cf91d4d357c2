"""Settings of a deployment, read once at start from environment variables (app settings in Azure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dropsweep.clusters import SETTING as CLUSTERS
from dropsweep.clusters import Cluster, parse_clusters
from dropsweep.errors import ConfigError

STORAGE: Final = "DROPSWEEP_STORAGE"
"""Name of the connection, also in the triggers: a connection string under this name, or the two URLs below."""
BLOB_URI: Final = f"{STORAGE}__blobServiceUri"
QUEUE_URI: Final = f"{STORAGE}__queueServiceUri"
CLIENT_ID: Final = f"{STORAGE}__clientId"
REQUEST_LOG: Final = "DROPSWEEP_REQUEST_LOG"
"""Names a file to which the process appends a line for each request that it sends to the account."""

URL: Final = "DROPSWEEP_URL"
"""Where the command line finds the HTTP API, in place of the account."""
KEY: Final = "DROPSWEEP_KEY"
"""The function key that it shows there."""

AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The storage emulator's published account key; it protects nothing.

Source: https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
"""
MAX_RETRY_DOUBLINGS: Final = 5
REPAIR_SCHEDULE: Final = "DROPSWEEP_REPAIR_SCHEDULE"
"""When the timer's pass begins, as NCRONTAB with six fields; read by the functions when they are indexed."""
DEFAULT_REPAIR_SCHEDULE: Final = "0 * * * * *"
TICK_SCHEDULE: Final = "DROPSWEEP_TICK_SCHEDULE"
"""When the timer looks at the schedules, written and read as that of the pass."""
DEFAULT_TICK_SCHEDULE: Final = "0 * * * * *"
RETAIN_SCHEDULE: Final = "DROPSWEEP_RETAIN_SCHEDULE"
"""When the timer deletes what policies do not want kept any longer, written and read as that of the pass."""
DEFAULT_RETAIN_SCHEDULE: Final = "0 17 * * * *"
_MAX_CLAIM_TIMEOUT_S: Final = 24 * 3600.0
AZURITE_BLOB_PORT: Final = 10000
AZURITE_QUEUE_PORT: Final = 10001


def emulator_connection_string(blob_port: int = AZURITE_BLOB_PORT, queue_port: int = AZURITE_QUEUE_PORT) -> str:
    """Returns the connection string of an Azurite that listens on the loopback interface at these ports."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{blob_port}/devstoreaccount1;"
        f"QueueEndpoint=http://127.0.0.1:{queue_port}/devstoreaccount1;"
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """How to reach the storage account: either a connection string or two service URLs with an identity.

    Attributes:
        request_log: a file that gets a line for each request; empty: none.
    """

    connection_string: str = field(default="", repr=False)
    blob_uri: str = ""
    queue_uri: str = ""
    client_id: str = ""
    request_log: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "StorageSettings":
        """Reads the connection named `DROPSWEEP_STORAGE` as the Functions host does.

        Raises:
            ConfigError: when there is neither a connection string nor both URLs.
        """
        text, log = env.get(STORAGE, "").strip(), env.get(REQUEST_LOG, "").strip()
        if text:
            return cls(connection_string=normalise_connection_string(text), request_log=log)
        blob_uri, queue_uri = env.get(BLOB_URI, "").strip(), env.get(QUEUE_URI, "").strip()
        if blob_uri and queue_uri:
            client_id = env.get(CLIENT_ID, "").strip()
            return cls(blob_uri=blob_uri, queue_uri=queue_uri, client_id=client_id, request_log=log)
        if blob_uri or queue_uri:
            absent = QUEUE_URI if blob_uri else BLOB_URI
            raise ConfigError(f"{absent} is not set: an identity needs both service URLs. Set it beside the other one")
        raise ConfigError(
            f"{STORAGE} is not set: the storage account must be named. Set it to a connection string "
            f"(UseDevelopmentStorage=true for Azurite), or set {BLOB_URI} and {QUEUE_URI} to the account's service URLs"
        )


def normalise_connection_string(text: str) -> str:
    """Returns a connection string that the SDK reads: `UseDevelopmentStorage=true` is spelled out.

    Raises:
        ConfigError: when it has no account or endpoint in it.
    """
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part.strip())
    keys = {key.strip().lower() for key in parts}
    if parts.get("UseDevelopmentStorage", "").strip().lower() == "true":
        return emulator_connection_string()
    if not keys & {"accountname", "blobendpoint"}:
        raise ConfigError(
            "the connection string names neither an AccountName nor a BlobEndpoint: it must be one that the portal or "
            "`az storage account show-connection-string` gives. Copy it whole and in quotes, for it has semicolons"
        )
    return text


@dataclass(frozen=True)
class Settings:
    """What the functions and the trainers of one deployment share.

    Attributes:
        storage: the storage account.
        clusters: the clusters that trainers serve; the first is where jobs go that name none.
        heartbeat_s: seconds between two heartbeats of a running trial; one and a half of them is the longest that a
            cancelled trial runs on.
        claim_timeout_s: age in seconds of a heartbeat after which another worker may take the trial over.
        grace_s: seconds between SIGTERM and SIGKILL for a trial's process.
        dispatch_window: most trial messages of one job that are outstanding at once.
        max_lost_workers: how many workers in a row one trial may take down before it is failed; ten times as many in
            all.
        retry_delay_s: seconds until a trial whose attempt failed is tried again; twice as long each time, up to
            `MAX_RETRY_DOUBLINGS` times.
    """

    storage: StorageSettings
    clusters: tuple[Cluster, ...] = (Cluster("local"),)
    heartbeat_s: float = 10.0
    claim_timeout_s: float = 60.0
    grace_s: float = 20.0
    dispatch_window: int = 256
    max_lost_workers: int = 3
    retry_delay_s: float = 10.0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Reads every setting.

        Raises:
            ConfigError: naming the variable, its value, the rule and the remedy.
        """
        settings = cls(
            storage=StorageSettings.from_env(env),
            clusters=parse_clusters(env[CLUSTERS]) if CLUSTERS in env else cls.clusters,
            heartbeat_s=_number(env, "DROPSWEEP_HEARTBEAT_S", cls.heartbeat_s),
            claim_timeout_s=_number(env, "DROPSWEEP_CLAIM_TIMEOUT_S", cls.claim_timeout_s),
            grace_s=_number(env, "DROPSWEEP_GRACE_S", cls.grace_s),
            dispatch_window=_count(env, "DROPSWEEP_DISPATCH_WINDOW", cls.dispatch_window),
            max_lost_workers=_count(env, "DROPSWEEP_MAX_LOST_WORKERS", cls.max_lost_workers),
            retry_delay_s=_number(env, "DROPSWEEP_RETRY_DELAY_S", cls.retry_delay_s),
        )
        whole = settings.claim_timeout_s.is_integer()
        if not whole or not 1 <= settings.claim_timeout_s <= _MAX_CLAIM_TIMEOUT_S:
            raise ConfigError(
                f"DROPSWEEP_CLAIM_TIMEOUT_S is {settings.claim_timeout_s:g}: it must be a whole number from 1 to "
                f"{_MAX_CLAIM_TIMEOUT_S:g}, for the storage service counts whole seconds. "
                f"The default is {cls.claim_timeout_s:g}"
            )
        if settings.claim_timeout_s < 3 * settings.heartbeat_s:
            raise ConfigError(
                f"DROPSWEEP_CLAIM_TIMEOUT_S is {settings.claim_timeout_s:g}: it must be at least three heartbeats of "
                f"{settings.heartbeat_s:g} s, or a slow request loses a claim. Raise it or lower DROPSWEEP_HEARTBEAT_S"
            )
        return settings

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """The clusters' names, the default one first."""
        return tuple(cluster.name for cluster in self.clusters)

    def cluster(self, name: str) -> Cluster | None:
        """Returns a cluster by its name; None: the deployment has none of this name (any more)."""
        return next((cluster for cluster in self.clusters if cluster.name == name), None)

    def backoff_s(self, num_failed: int) -> float:
        """Returns the wait before the next attempt of a trial of which `num_failed` attempts failed in a row."""
        return self.retry_delay_s * 2.0 ** min(max(num_failed - 1, 0), MAX_RETRY_DOUBLINGS)


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    value = _number(env, name, default)
    if value != int(value):
        raise ConfigError(f"{name} is {value:g}: it must be a whole number from 1. Correct it or remove it ({default})")
    return int(value)


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise ConfigError(f"{name} is {text!r}: it must be a number above 0. Correct it or remove it ({default:g})")
    return value
