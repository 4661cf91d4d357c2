"""What there is of checkpoints in the storage: their labels, their manifests, and what is left of torn ones.

A checkpoint's files are `checkpoints/{label}/…`, and it exists once `{label}.manifest.json` beside them does: the
manifest is written last and deleted first. A label is `{attempt:04}-{number:06}-{name}`: labels sort by age, and those
of a later attempt come after all those of an earlier one, even when its worker is still alive and late.

A file that had not changed since an older checkpoint is not there twice: the manifest says where it lies, below that
older one's label. It stays there for as long as a whole checkpoint refers to it.
"""

from dropsweep.manifests.inventory import Inventory, Stored, delete_torn, stored, whole_labels
from dropsweep.manifests.manifest import Manifest, StoredFile, attempt_of, label_in, label_of

__all__ = [
    "Inventory",
    "Manifest",
    "Stored",
    "StoredFile",
    "attempt_of",
    "delete_torn",
    "label_in",
    "label_of",
    "stored",
    "whole_labels",
]
