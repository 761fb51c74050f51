"""The versions of every program beside Python that this repository runs: the one place that names them."""

from typing import Final

COLLECTOR: Final = "0.161.0"
COLLECTOR_BUILDER_MODULE: Final = f"go.opentelemetry.io/collector/cmd/builder@v{COLLECTOR}"

JAEGER: Final = "2.13.0"
JAEGER_MODULE: Final = "github.com/jaegertracing/jaeger@v1.76.0"
"""Jaeger 2 numbers its Go module after Jaeger 1; v1.76.0 is the source of 2.13.0."""

PROMETHEUS: Final = "3.13.1"
PROMETHEUS_MODULE: Final = "github.com/prometheus/prometheus@v0.313.1"

GRAFANA: Final = "13.1.0"

IMAGES: Final = {
    "collector": f"otel/opentelemetry-collector-contrib:{COLLECTOR}",
    "jaeger": f"jaegertracing/jaeger:{JAEGER}",
    "prometheus": f"prom/prometheus:v{PROMETHEUS}",
    "grafana": f"grafana/grafana:{GRAFANA}",
}
"""Images of docker-compose.yml, by service."""

EXAMPLE_BASE_IMAGE: Final = "python:3.13.0-slim-bookworm"
"""What examples/Dockerfile builds on."""
