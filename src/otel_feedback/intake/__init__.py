"""What arrives: telemetry in OTLP, of any SDK and instrumentation family, as the rows of a store."""
