"""The embedded process: it receives OTLP, captures votes, stores everything and shows it; needs ``[server]``."""
