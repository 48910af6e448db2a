"""Settings of averages that were chosen on development sets, with all that were tried."""

from __future__ import annotations

from typing import Any

import pandas as pd

from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records


def chosen_settings(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For each average whose settings were chosen: model, metric, sets, and a row for each combination that was tried, in
    their order: settings, values (mean over replicates, for each set), chosen and outside (numbers of replicates that
    chose it, and in which it broke a limit). One entry for each metric; limits may have another than the goals."""
    found: dict[str, list[pd.DataFrame]] = {}
    for (model, replicate), record in provenance.items():
        chosen = record.get("chosen") or {}
        if isinstance(chosen, dict) and "settings" in chosen and chosen.get("curve"):
            found.setdefault(model, []).append(pd.DataFrame(chosen["curve"]).assign(replicate=replicate))
    tables = []
    for model in dict.fromkeys(m["name"] for m in outcomes.models if m["name"] in found):
        for metric, rows in pd.concat(found[model]).groupby("metric", sort=False):
            sets = list(rows["set"].unique())
            each = rows.drop_duplicates(["candidate", "replicate"]).groupby("candidate", sort=False)
            values = rows.pivot_table("value", "candidate", "set")[sets]
            chosen, inside, count = each["chosen"].sum(), each["admissible"].sum(), each.size()
            tables.append(
                {
                    "model": model,
                    "metric": metric,
                    "sets": sets,
                    "rows": [
                        {
                            "settings": name,
                            "values": values.loc[name].tolist(),
                            "chosen": int(chosen[name]),
                            "outside": int(count[name] - inside[name]),
                        }
                        for name in count.index
                    ],
                }
            )
    return tables
