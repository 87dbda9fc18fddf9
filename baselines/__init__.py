"""The systems Self-Retrieval is compared with."""
