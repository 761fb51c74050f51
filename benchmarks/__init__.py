"""What otel-feedback costs, as ratios to the bare OpenTelemetry SDK in the same run: ``make bench``."""
