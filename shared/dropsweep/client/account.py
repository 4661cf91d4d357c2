"""Which storage account a person names, and how to speak of it without its key."""

from urllib.parse import urlsplit

from dropsweep.errors import ConfigError
from dropsweep.settings import BLOB_URI, QUEUE_URI, StorageSettings, normalise_connection_string

_BLOB, _QUEUE = ".blob.", ".queue."


def settings_of(text: str) -> StorageSettings:
    """Reads a connection string (`UseDevelopmentStorage=true` among them) or an account's URL.

    Of a URL the queue service's is the same with `queue` for `blob`; the identity is what azure-identity finds.

    Raises:
        ConfigError: it is neither.
    """
    text = text.strip()
    if "://" not in text.partition("=")[0]:
        return StorageSettings(connection_string=normalise_connection_string(text))
    url = urlsplit(text)
    host = (url.hostname or "").lower()
    is_plain = url.scheme == "https" and not (url.query or url.fragment or url.username or url.password or url.port)
    if not is_plain or url.path not in ("", "/") or _BLOB not in host:
        raise ConfigError(
            f"{url.scheme}://{host}{url.path} names no storage account: an account's URL is "
            f"https://NAME.blob.core.windows.net, with nothing after it. Give a connection string, or set {BLOB_URI} "
            f"and {QUEUE_URI} for other addresses"
        )
    return StorageSettings(blob_uri=f"https://{host}", queue_uri=f"https://{host.replace(_BLOB, _QUEUE, 1)}")


def place_of(settings: StorageSettings) -> str:
    """Returns the address of an account's blobs, or its name, for people; never its key or signature."""
    parts = dict(part.strip().partition("=")[::2] for part in settings.connection_string.split(";") if part.strip())
    known = {name.strip().lower(): value.strip() for name, value in parts.items()}
    address = settings.blob_uri or known.get("blobendpoint", "")
    if not address:
        suffix = known.get("endpointsuffix", "core.windows.net")
        address = f"{known.get('defaultendpointsprotocol', 'https')}://{known.get('accountname', '')}.blob.{suffix}"
    url = urlsplit(address)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}".rstrip("/")
