"""A comparison on the page: the verdict on a claim with its picture, and a row of the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from consomme.report.evidence.claims import Comparison
from consomme.report.numbers import metric_title, signed
from consomme.report.words.claims import claim_title, interval, notes, numbers, reading, visible_text, word


def verdict(c: Comparison, claims: Sequence[Comparison]) -> dict[str, Any]:
    """A claim's verdict in words, numbers and a picture, on the axis of all `claims` in its metric."""
    return {
        "state": c.verdict,
        "title": claim_title(c),
        "word": word(c),
        "reading": reading(c),
        "numbers": f"{numbers(c)}.".replace("p ", "p\u00a0"),
        "notes": " ".join(notes(c)),
        "picture": _interval_picture(c, [o for o in claims if o.metric == c.metric]),
    }


def _interval_picture(c: Comparison, alike: Sequence[Comparison]) -> str:
    """An interval on the axis that all claims in this metric share."""
    ends = [x for o in alike for x in (*_ends(o), *(d for _, d in o.by_replicate), -(o.margin or 0.0), 0.0)]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low or 1.0)
    low, high = low - pad, high + pad

    def x(value: float) -> str:
        return f"{240 * (value - low) / (high - low):.1f}"

    colour = {"holds": "var(--good)", "open": "var(--open)", "fails": "var(--bad)"}[c.verdict]
    # keep the labels of the two marks from overlapping
    near = bool(c.margin) and 240 * c.margin / (high - low) < 22
    middle = "start" if near else "middle"
    parts = [
        f'<svg viewBox="0 0 240 44" role="img" aria-label="{signed(c.difference)}, {interval(c)}">',
        f'<line x1="{x(0)}" x2="{x(0)}" y1="2" y2="32" stroke="var(--soft)"/>',
        f'<text x="{x(0)}" y="43" font-size="10" text-anchor="{middle}" fill="var(--soft)">0</text>',
    ]
    if c.margin:
        at = x(-c.margin)
        parts.append(f'<line x1="{at}" x2="{at}" y1="2" y2="32" stroke="var(--soft)" stroke-dasharray="3 3"/>')
        side = "end" if near else "middle"
        parts.append(
            f'<text x="{at}" y="43" font-size="10" text-anchor="{side}" fill="var(--soft)">−{c.margin:g}</text>'
        )
    start, end = map(x, _ends(c))
    parts.append(
        f'<line x1="{start}" x2="{end}" y1="17" y2="17" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>'
    )
    if c.replicates > 1:
        parts += [f'<circle cx="{x(d)}" cy="26" r="2" fill="var(--soft)"/>' for _, d in c.by_replicate]
    parts.append(f'<circle cx="{x(c.difference)}" cy="17" r="5" fill="{colour}"/></svg>')
    return "".join(parts)


def _ends(c: Comparison) -> tuple[float, float]:
    """Of the interval; without one, the difference."""
    return (c.difference, c.difference) if math.isnan(c.ci_low) else (c.ci_low, c.ci_high)


def evidence(c: Comparison) -> dict[str, str]:
    """All fields of a comparison, as text."""
    margin = f" within {c.margin:g}" if c.margin is not None else ""
    return {
        "claim": c.claim,
        "model": c.model,
        "against": c.against,
        "relation": f"{c.hypothesis} {c.against}{margin}",
        "set": c.set,
        "metric": metric_title(c.metric),
        "difference": signed(c.difference),
        "interval": interval(c),
        "visible": visible_text(c),
        "p": _p(c.p),
        "p_holm": _p(c.p_holm),
        "p_models": _p(c.p_models),
        "p_models_holm": _p(c.p_models_holm),
        "word": word(c) if c.declared else "",
        "spread": " ".join(signed(d) for _, d in c.by_replicate),
        "method": c.method,
    }


def _p(p: float | None) -> str:
    return "" if p is None else f"{p:.4f}"


def prospects(claims: Sequence[Comparison]) -> list[dict[str, Any]]:
    """What more replicates could show for the method, of claims that have fewer than three."""
    return [
        {"title": claim_title(c), "points": [f"{points:.2f} {metric_title(c.metric)}" for _, points in c.foreseen]}
        for c in claims
        if c.foreseen
    ]
