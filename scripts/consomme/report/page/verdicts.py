"""A comparison on the page: the verdict on a claim with its picture, and a row of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consomme.report.evidence.claims import Comparison
from consomme.report.numbers import metric_title, p_text, signed
from consomme.report.words.claims import VERDICTS, claim_title, reading, spread


def verdict(c: Comparison, claims: Sequence[Comparison]) -> dict[str, Any]:
    """A claim's verdict in words, numbers and a picture, on the axis of all `claims` in its metric."""
    p = p_text(c.p)
    if c.p_holm is not None and c.p_holm != c.p:
        p += f", after Holm {p_text(c.p_holm).removeprefix('p ')}"
    notes = [f"{spread(c)[0].upper()}{spread(c)[1:]}." if c.replicates > 1 else ""]
    notes += [f"Only {c.units} independent units." if c.few else ""]
    return {
        "state": c.verdict,
        "title": claim_title(c),
        "word": VERDICTS[c.verdict],
        "reading": reading(c),
        "numbers": f"{signed(c.difference)} {metric_title(c.metric)}, {signed(c.ci_low)} to {signed(c.ci_high)}, {p}.".replace(
            "p ", "p\u00a0"
        ),
        "notes": " ".join(n for n in notes if n),
        "picture": _interval_picture(c, [o for o in claims if o.metric == c.metric]),
    }


def _interval_picture(c: Comparison, alike: Sequence[Comparison]) -> str:
    """An interval on the axis that all claims in this metric share."""
    ends = [x for o in alike for x in (o.ci_low, o.ci_high, *(d for _, d in o.by_replicate), -(o.margin or 0.0), 0.0)]
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
        f'<svg viewBox="0 0 240 44" role="img" aria-label="{signed(c.difference)}, {signed(c.ci_low)} to {signed(c.ci_high)}">',
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
    parts.append(
        f'<line x1="{x(c.ci_low)}" x2="{x(c.ci_high)}" y1="17" y2="17" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>'
    )
    if c.replicates > 1:
        parts += [f'<circle cx="{x(d)}" cy="26" r="2" fill="var(--soft)"/>' for _, d in c.by_replicate]
    parts.append(f'<circle cx="{x(c.difference)}" cy="17" r="5" fill="{colour}"/></svg>')
    return "".join(parts)


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
        "interval": f"{signed(c.ci_low)} to {signed(c.ci_high)}",
        "visible": f"{c.detectable:.2f}",
        "p": f"{c.p:.4f}",
        "p_holm": "" if c.p_holm is None else f"{c.p_holm:.4f}",
        "spread": " ".join(signed(d) for _, d in c.by_replicate),
        "method": c.method,
    }
