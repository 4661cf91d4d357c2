"""The storage account: the only package that imports the storage SDK.

`Store` holds the two halves, `store.blobs` and `store.queues`. Every write of a record goes through `Blobs.create`,
`Blobs.replace` or `Blobs.touch`, which are conditional; losing a race returns None.
"""

from dropsweep.storage.blobs import FOLDER_MARK, Blob, Blobs, Head, Listed, Written
from dropsweep.storage.links import Link
from dropsweep.storage.passing import Fresh, Page, PageEntry, Part, Unchanged
from dropsweep.storage.queues import Message, Queues
from dropsweep.storage.retrying import PATIENCE_S, Clock
from dropsweep.storage.store import READ_TIMEOUT_S, Store
from dropsweep.storage.tally import Tally

__all__ = [
    "FOLDER_MARK",
    "PATIENCE_S",
    "READ_TIMEOUT_S",
    "Blob",
    "Blobs",
    "Clock",
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
]
