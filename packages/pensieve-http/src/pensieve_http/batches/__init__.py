"""Batches: which request is run next, and what becomes of it. Below: `storage.batch_store`."""
