"""Numbers formatted for reading."""

from __future__ import annotations


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, written with a true minus (U+2212)."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if text.strip("+-0.") else text.replace("-", "+")


def p_text(p: float) -> str:
    """A p-value in text."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def short(count: float) -> str:
    """A count in thousands or millions, with a no-break space."""
    for factor, unit in ((1e9, "\u00a0G"), (1e6, "\u00a0M"), (1e3, "\u00a0k")):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:g}"


def shown_speed(value: float) -> str:
    """Three significant digits, thousands in full: 14.2, 3,550."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def metric_title(metric: str) -> str:
    """A metric's usual spelling."""
    name, *kind = metric.split("-", 1)
    return "-".join(
        [
            {
                "bleu": "BLEU",
                "chrf": "chrF",
                "wer": "WER",
                "cer": "CER",
                "chrf++": "chrF++",
                "ter": "TER",
                "mer": "MER",
                "ser": "SER",
            }.get(name, name),
            *kind,
        ]
    )
