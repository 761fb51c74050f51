"""The store: interactions, feedback, documents and raw spans in one folder, kept by DuckDB; needs ``[server]``."""
