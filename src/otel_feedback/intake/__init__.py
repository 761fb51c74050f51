"""What arrives: telemetry in OpenTelemetry's wire form, of any SDK and instrumentation family, as rows for the store."""
