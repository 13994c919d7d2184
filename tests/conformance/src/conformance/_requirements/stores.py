"""What outlives a request: batches and files."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["STORES"]

_BATCHES = "sdk: resources/messages/batches.py"
_BATCH = "sdk: types/messages/message_batch.py"
_RESULT = "sdk: types/messages/message_batch_result.py"
_FILES = "sdk: resources/files.py"
_TABLE = "design: 3 Endpoints"

STORES = (
    Requirement(
        "batch:create",
        "POST /v1/messages/batches takes requests with a custom_id each.",
        source=_BATCHES,
    ),
    Requirement(
        "batch:create:custom_id",
        "An id that is missing or comes twice is a 400.",
        source="sdk: types/messages/batch_create_params.py",
    ),
    Requirement("batch:retrieve", "GET …/{id} answers status and counts.", source=_BATCH),
    Requirement("batch:list", "GET /v1/messages/batches answers a page, newest first.", source=_BATCHES),
    Requirement("batch:cancel", "POST …/{id}/cancel ends what has not begun.", source=_BATCHES),
    Requirement(
        "batch:delete",
        "DELETE …/{id} forgets a batch that has ended; another is a 409.",
        source=_BATCHES,
    ),
    Requirement("batch:results", "GET …/{id}/results answers one line of JSON per request.", source=_BATCHES),
    Requirement("batch:results:succeeded", "A message.", source=_RESULT),
    Requirement("batch:results:errored", "The error that the request alone would have had.", source=_RESULT),
    Requirement("batch:results:canceled", "A request that was cancelled before it began.", source=_RESULT),
    Requirement("batch:results:expired", "A request that 24 hours did not suffice for.", source=_RESULT),
    Requirement("batch:results:early", "Results before the end are refused.", source=_BATCHES),
    Requirement("batch:unknown", "An unknown batch is a 404.", source=_BATCHES),
    Requirement("batch:priority", "Batches wait for everybody else.", source=_TABLE),
    Requirement(
        "batch:restart",
        "A batch survives a restart of the server.",
        source=_TABLE,
        held_by="tests/e2e/test_storage.py::test_a_batch_goes_on_after_a_kill_and_no_request_with_a_result_runs_again",
    ),
    Requirement("file:upload", "POST /v1/files keeps a file and answers its metadata.", source=_FILES),
    Requirement("file:list", "GET /v1/files answers a page.", source=_FILES),
    Requirement(
        "file:retrieve",
        "GET /v1/files/{id} answers the metadata.",
        source="sdk: types/file_metadata.py",
    ),
    Requirement("file:content", "GET /v1/files/{id}/content answers the bytes.", source=_FILES),
    Requirement("file:delete", "DELETE /v1/files/{id} forgets it.", source="sdk: types/deleted_file.py"),
    Requirement("file:unknown", "An unknown file is a 404.", source=_FILES),
    Requirement("file:quota", "Beyond the quota an upload is refused.", source=_TABLE),
    Requirement(
        "file:restart",
        "A file survives a restart of the server.",
        source=_TABLE,
        held_by="tests/http/storage/test_file_store.py::test_files_are_there_after_a_restart",
    ),
)
