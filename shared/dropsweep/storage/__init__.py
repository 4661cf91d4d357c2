"""The storage account: the only package that imports the storage SDK.

`Store` holds the two halves, `store.blobs` and `store.queues`. Every write of a record goes through `Blobs.create`,
`Blobs.replace` or `Blobs.touch`, which are conditional; losing a race returns None.
"""

from dropsweep.storage.blobs import FOLDER_MARK, Blobs
from dropsweep.storage.found import Blob, Head, Listed, Written
from dropsweep.storage.links import Link
from dropsweep.storage.parallel import in_order
from dropsweep.storage.passing import Fresh, Page, PageEntry, Part, Unchanged
from dropsweep.storage.queues import Message, Queues
from dropsweep.storage.retrying import PATIENCE_S, Clock
from dropsweep.storage.store import READ_TIMEOUT_S, Store
from dropsweep.storage.tally import Tally
from dropsweep.storage.transfer import (
    HEAD_BYTES,
    MAX_FILE_BYTES,
    SINGLE_GET_BYTES,
    SINGLE_PUT_BYTES,
    Digest,
    head_of,
)

__all__ = [
    "FOLDER_MARK",
    "HEAD_BYTES",
    "MAX_FILE_BYTES",
    "PATIENCE_S",
    "READ_TIMEOUT_S",
    "SINGLE_GET_BYTES",
    "SINGLE_PUT_BYTES",
    "Blob",
    "Blobs",
    "Clock",
    "Digest",
    "Fresh",
    "Head",
    "Link",
    "Listed",
    "Message",
    "Page",
    "PageEntry",
    "Part",
    "Queues",
    "Store",
    "Tally",
    "Unchanged",
    "Written",
    "head_of",
    "in_order",
]
