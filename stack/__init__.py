"""The real Collector, Jaeger and Prometheus as local processes: found or built, started, asked and ended."""
