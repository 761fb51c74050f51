"""The dashboard "Satisfaction by template": which template and version, and which model, people are unhappy with."""

from collections.abc import Mapping
from typing import Final

from dashboards import panels, queries
from dashboards.panels import SHARE, Line, Query, Variant
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import stat, table, timeseries

_SATISFACTION: Final = (
    "Satisfaction is positive / (positive + negative) over the opinions that were *expressed* in the range: a vote "
    "counts for what it became when it was cast or changed; a comment added later is no new opinion; a retraction is a "
    "change of mind, not an opinion. Neutral opinions and implicit signals stand beside it, never in it."
)
_INTERVAL: Final = (
    f"The interval is Wilson's score interval at 95 % (z = {queries.Z:g}). Fewer than {queries.ENOUGH} opinions, or "
    f"answers for a response rate, read as *{panels.NOT_ENOUGH}*."
)
_RESPONSE: Final = (
    "Response rate is the sampled answers that got their first explicit feedback in the range / the sampled answers "
    "given in the range: feedback on an answer from before the range counts above, not below the line."
)


def build(variant: Variant) -> builder.Dashboard:
    """Return the dashboard in one edition."""
    page = panels.page(
        variant,
        panels.SATISFACTION,
        "Satisfaction by template",
        "What users think of the answers, by prompt template and version and by model and query type, worst first.",
    )
    by_template, by_model = queries.BY_TEMPLATE, queries.BY_MODEL
    common = (queries.SERVICE, queries.NAMESPACE, queries.ENVIRONMENT)
    for place, name in enumerate(common):
        page.with_variable(panels.filter_variable(name, by_template, given=common[:place]))
    for name in (queries.TEMPLATE, queries.VERSION):
        page.with_variable(panels.filter_variable(name, by_template, given=common))
    for name in (queries.MODEL, queries.QUERY_TYPE):
        page.with_variable(panels.filter_variable(name, by_model, given=common))
    _row(page, variant, by_template, "template", "By template and version")
    _row(page, variant, by_model, "model", "By model and query type")
    return page


def _row(page: builder.Dashboard, variant: Variant, view: queries.View, word: str, title: str) -> None:
    own = " and ".join(panels.WORDS[name].lower() for name in view.rows[1:])
    page.with_row(builder.Row(title))
    for panel in _totals(variant, view, word, own):
        page.with_panel(panel)
    page.with_panel(_table(variant, view, own))
    page.with_panel(_trend(variant, view, own))
    page.with_panel(_implicit(variant, view, own))


def _totals(variant: Variant, view: queries.View, word: str, own: str) -> list[stat.Panel]:
    numbers = variant.numbers(view)
    filtered = f"Of everything that the filters let through (this row heeds those by {own})."
    return [
        panels.stat_panel(
            f"Satisfaction, all by {word}",
            f"{filtered} {_SATISFACTION} {_INTERVAL} {variant.caveat}",
            [
                Query("satisfaction", "Satisfaction", numbers.satisfaction(), SHARE),
                Query("low", "95 % from", numbers.satisfaction_low(), SHARE),
                Query("high", "95 % to", numbers.satisfaction_high(), SHARE),
                Query("n", "Opinions (n)", numbers.opinions()),
            ],
            width=12,
        ),
        panels.stat_panel(
            f"Response rate, all by {word}",
            f"{filtered} {_RESPONSE} {_INTERVAL} {variant.caveat}",
            [
                Query("rate", "Response rate", numbers.response_rate(), SHARE),
                Query("n", "Answers (n)", numbers.interactions()),
            ],
        ),
        panels.stat_panel(
            f"Beside it, all by {word}",
            f"{filtered} Opinions that are neutral, and changes of mind: votes that replaced another sentiment, "
            f"retractions included. n of both is their own number. {variant.caveat}",
            [
                Query("neutral", "Neutral (n)", numbers.neutral()),
                Query("changes", "Changes of mind (n)", numbers.changes()),
            ],
        ),
    ]


def _table(variant: Variant, view: queries.View, own: str) -> table.Panel:
    numbers = variant.numbers(view, view.rows)
    return panels.table_panel(
        f"Satisfaction by {own}",
        "Worst first: by the upper bound of the interval, ascending, so that a few bad votes do not outrank many. "
        f"{_SATISFACTION} {_INTERVAL} {_RESPONSE} Changes of mind are votes that replaced another sentiment. "
        f"{variant.caveat}",
        view.rows,
        [
            Query("n", "Opinions (n)", numbers.opinions()),
            Query("satisfaction", "Satisfaction", numbers.satisfaction(), SHARE),
            Query("low", "95 % from", numbers.satisfaction_low(), SHARE),
            Query("high", "95 % to", numbers.satisfaction_high(), SHARE),
            Query("neutral", "Neutral", numbers.neutral()),
            Query("changes", "Changes of mind", numbers.changes()),
            Query("answers", "Answers (n)", numbers.interactions()),
            Query("rate", "Response rate", numbers.response_rate(), SHARE),
            Query("rank", "Rank", numbers.rank(), SHARE, hidden=True),
        ],
        sort_by="rank",
        links=[_bad_answers_link(variant, view)],
    )


def _trend(variant: Variant, view: queries.View, own: str) -> timeseries.Panel:
    window = queries.INTERVAL
    numbers = variant.numbers(view, view.rows, window=window)
    legend = " · ".join("{{" + name + "}}" for name in view.rows)
    return panels.trend_panel(
        f"Satisfaction over time by {own}",
        f"Each point covers the window that ends there, one of {panels.POINTS} that tile the range (at least 1 min "
        f"each). {_SATISFACTION} A window with fewer than {queries.ENOUGH} opinions has no point. Bars: the opinions "
        "behind all lines together (n). Dots are single votes: a click leads to the vote's trace, which holds the "
        f"answer too if the vote came soon after it, and else a link to it. {variant.caveat}",
        [
            Line(Query("satisfaction", legend, numbers.satisfaction(), SHARE), exemplars=True),
            Line(Query("n", "Opinions (n)", variant.numbers(view, window=window).opinions()), bars=True),
        ],
        highest=1,
    )


def _implicit(variant: Variant, view: queries.View, own: str) -> table.Panel:
    numbers = variant.numbers(view, view.rows)
    return panels.table_panel(
        f"Implicit signals by {own}",
        "What people did with answers without being asked: copied them, asked again, gave up, ... They stand beside "
        "satisfaction, never in it. *Per answer* is signals on sampled answers / sampled answers given in the range, "
        f"where there are at least {queries.ENOUGH} answers (n); several signals on one answer count each, "
        "the same one again (more of it was copied, it was taken back) doesn't. "
        f"{variant.caveat}",
        (*view.rows, queries.SIGNAL),
        [
            Query("signals", "Signals", numbers.implicit()),
            Query("share", "Per answer", numbers.implicit_share(), SHARE),
            Query("n", "Answers (n)", numbers.implicit_answers()),
        ],
        sort_by="signals",
        descending=True,
        height=8,
    )


def _bad_answers_link(variant: Variant, view: queries.View) -> Mapping[str, str]:
    """A click on a row opens its bad answers: the row's labels as filters, and as tags for Jaeger."""
    cells = {name: f'${{__data.fields["{panels.WORDS[name]}"]:percentencode}}' for name in view.rows}
    filters = "&".join(f"var-{queries.VARIABLES[name]}={cell}" for name, cell in cells.items())
    tags = "%20".join(f"{queries.ATTRIBUTES[name]}%3D%22{cell}%22" for name, cell in cells.items())
    page = variant.uid(panels.BAD_ANSWERS)
    sender = cells[queries.SERVICE]
    return {
        "title": "Bad answers of this row",
        "url": f"/d/{page}?{filters}&var-sender={sender}&var-tags={tags}&${{__url_time_range}}",
    }
