"""What the server keeps for its clients between two starts, in one folder.

    <data folder>/            0700
        pensieve.sqlite3      what is known of files; batches, their requests and their results
        files/file_…          the bytes of files, each under its id
        files/*.part          uploads under way
        batches.lock          held by the server that runs batches

Knows folders and SQL. Knows no HTTP and no wire format. Several servers may share a folder. Nothing is created before
something is to be kept.
"""

import attrs

from pensieve_http.storage.batch_store import BatchLimits, BatchStore
from pensieve_http.storage.claim import FolderClaim
from pensieve_http.storage.database import Database
from pensieve_http.storage.file_folder import FileFolder
from pensieve_http.storage.file_store import FolderFileStore
from pensieve_inference import FileStore

__all__ = ["BatchLimits", "BatchStore", "Database", "FileFolder", "FolderClaim", "FolderFileStore", "Storage"]


@attrs.frozen(kw_only=True)
class Storage:
    """Where everything is kept."""

    files: FileStore
    batches: BatchStore
