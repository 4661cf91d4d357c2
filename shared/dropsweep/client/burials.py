"""What a client does with messages that nobody could act on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from dropsweep.client.poison import BuriedName
from dropsweep.errors import StorageCorrupt
from dropsweep.records.buried import BuriedMessage


class Burials(ABC):
    """Looks at buried messages, sends them again, or deletes them."""

    @abstractmethod
    def buried(self, *, on_corrupt: Callable[[str, StorageCorrupt], None] | None = None) -> list[BuriedMessage]:
        """Lists the queue messages that nobody could act on, newest first; one storage operation for each.

        Args:
            on_corrupt: is told of each blob among the records that is none, by its path in the container `runs`; None:
                the first of them is raised.

        Raises:
            StorageCorrupt: a blob is no record, and there is no `on_corrupt`.
        """

    @abstractmethod
    def requeue(self, message: BuriedMessage | str) -> BuriedMessage:
        """Sends a buried message to its queue again, or puts the dropped file anew that it names.

        Args:
            message: the message, its id, or the beginning of an id that fits one message only.

        Returns:
            The message, which is not buried any more.

        Raises:
            NotFoundError: no message fits, or it is not buried any more; or the file or the queue is gone.
            DropsweepError: several messages fit. MessageError: it names no file, or is too large to be sent. In each of
                these cases what is buried stays so.
        """

    @abstractmethod
    def delete_buried(self, message: str) -> BuriedName:
        """Deletes the record of a buried message, readable or not: the message is lost then.

        Args:
            message: its id, or the beginning of an id that fits one message only.

        Raises:
            NotFoundError: none fits, or it is not buried any more. DropsweepError: several fit.
        """

    @abstractmethod
    def delete_all_buried(self) -> Iterator[BuriedName]:
        """Deletes the records of all messages that are buried now; yields each one's name once it is gone."""
