"""What the server keeps for its clients between two starts, in one folder.

    <data folder>/            0700
        pensieve.sqlite3      what is known of files
        files/file_…          the bytes of files, each under its id
        files/*.part          uploads under way

Knows folders and SQL. Knows no HTTP and no wire format. Several servers may share a folder. Nothing is created before
something is to be kept.
"""

from pensieve_http.storage.database import Database
from pensieve_http.storage.file_folder import FileFolder
from pensieve_http.storage.file_store import FolderFileStore

__all__ = ["Database", "FileFolder", "FolderFileStore"]
