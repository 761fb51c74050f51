"""Writes the dashboards and the alert rules: ``python -m dashboards.generate`` from the root of the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dashboards import alerts, bad_answers, panels, pipeline_health, satisfaction
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder

HERE: Final = Path(__file__).resolve().parent
PAGES: Final = {
    panels.SATISFACTION: satisfaction.build,
    panels.BAD_ANSWERS: bad_answers.build,
    panels.PIPELINE_HEALTH: pipeline_health.build,
}


def generate() -> Iterator[tuple[Path, str]]:
    """Yield every generated file as (path relative to this folder, text)."""
    for variant in panels.VARIANTS:
        for name, build in PAGES.items():
            yield Path(variant.folder, f"{name}.json"), _as_json(build(variant))
    yield Path("rules", "feedback.yaml"), alerts.as_yaml()


def _as_json(page: builder.Dashboard) -> str:
    dashboard = page.build()
    for number, panel in enumerate(dashboard.panels or [], start=1):
        panel.id_val = number
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard) + "\n"


def main() -> None:
    """Write what has changed, and say what."""
    for path, text in generate():
        file = HERE / path
        file.parent.mkdir(exist_ok=True)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote dashboards/{path}")


if __name__ == "__main__":
    main()
