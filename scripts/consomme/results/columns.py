"""The tables of results: the name, type and meaning of every column. Plain data, which imports nothing heavy.

Types are pandas': `str` for text, `Int64` for counts, `float64` for measurements, `boolean` for yes and no. Values that
don't apply are empty text or a missing number."""

from __future__ import annotations

from dataclasses import dataclass

TEXT, COUNT, NUMBER, FLAG = "str", "Int64", "float64", "boolean"


@dataclass(frozen=True)
class Table:
    """A table of results."""

    name: str
    what: str  # its content, for the reference
    columns: dict[str, tuple[str, str]]  # column -> (type, meaning)
    file: str = ""  # in the folder of an experiment; empty if the table is gathered from many files

    @property
    def names(self) -> list[str]:
        """The columns, in order."""
        return list(self.columns)


MODEL = {
    "model": (TEXT, "the model's name: NODE, or NODE/RUN"),
    "replicate": (TEXT, "the seed of `repeat`; empty for a lone one"),
}
SET = {
    "split": (TEXT, "dev or test"),
    "set": (TEXT, "the set's name in the configuration"),
    "decoding": (TEXT, "a digest of the decoding settings"),
    "metric": (TEXT, "the metric's name"),
}
SIGNATURE = {"signature": (TEXT, "the metric's tokenizer, normaliser, version and other options; equal ones compare")}
INTERVAL = {
    "ci_low": (NUMBER, "lower end of the 95 % interval"),
    "ci_high": (NUMBER, "upper end"),
}

RUNS = Table(
    "runs",
    "every model, and after these columns a text column for each swept key (swept.KEY where a column has that name), and "
    "stopped_at where sweeps stop runs early: the step",
    {
        "name": (TEXT, "the model's name: NODE, or NODE/RUN"),
        "node": (TEXT, "its node in the configuration"),
        "run": (TEXT, "its run in a swept node; best for the one chosen; else empty"),
        "verb": (TEXT, "what made it: start, train, average, prune or export"),
        "replicate": MODEL["replicate"],
        "digest": (TEXT, "the digest in its folder's name"),
        "folder": (TEXT, "its folder, from the working directory of the run"),
    },
    "runs.tsv",
)
SCORES = Table(
    "scores",
    "every model on every set in every metric",
    {"model": MODEL["model"], "kind": (TEXT, "the verb that made it"), "replicate": MODEL["replicate"]}
    | SET
    | {"value": (NUMBER, "the score over the whole set; rates in percent")}
    | INTERVAL
    | {"n": (COUNT, "rows of the set"), "path": (TEXT, "the file of its hypotheses")}
    | SIGNATURE
    | {
        "way": (TEXT, "full window, previous text or timestamps; empty for the experiment's own decoding"),
        "sane_timestamps": (NUMBER, "percent of rows whose timestamps can be right, of the way timestamps"),
        "mean_low": (
            NUMBER,
            "lower end of the 95 % interval of the model's mean over replicates, over test data and seeds",
        ),
        "mean_high": (NUMBER, "upper end"),
    },
    "scores.tsv",
)
COMPARISONS = Table(
    "comparisons",
    "claims and what was compared beside them; positive differences are better, whichever way the metric runs",
    {
        "claim": (TEXT, "its number among the declared claims from 1, exploratory, or withdrawn and a number"),
        "model": (TEXT, "the compared model"),
        "against": (TEXT, "what it is compared with"),
        "replicates": (COUNT, "number of tested replicates"),
    }
    | SET
    | {
        "hypothesis": (TEXT, "beats or keeps"),
        "margin": (NUMBER, "the loss that keeps allows"),
        "difference": (NUMBER, "mean over replicates"),
        "ci_low": (NUMBER, "lower end of the 95 % interval, over test data and, of several replicates, over these"),
        "ci_high": (NUMBER, "upper end"),
        "p": (
            NUMBER,
            "two-sided, of the method: other seeds and other test data; missing with fewer than three replicates",
        ),
        "p_holm": (NUMBER, "adjusted for all declared claims; missing for exploratory ones"),
        "method": (TEXT, "the tests, their resamples and units"),
    }
    | SIGNATURE
    | {
        "verdict": (
            TEXT,
            "shown, refuted (for the method, or for these models) or not shown; empty for exploratory ones",
        ),
        "each": (TEXT, "the difference of each replicate, as SEED=DIFFERENCE"),
        "units": (COUNT, "independent units of the test sets of all replicates together"),
        "unit": (TEXT, "what they are: speakers, documents or rows"),
        "visible": (NUMBER, "smallest difference seen with 80 % power after Holm; missing if none is measurable"),
        "unseen": (TEXT, "why none is"),
        "ci_models_low": (NUMBER, "lower end of the 95 % interval over test data alone, of these very models"),
        "ci_models_high": (NUMBER, "upper end"),
        "p_models": (NUMBER, "two-sided, of these models: other test data; missing if the claim wasn't tested"),
        "p_models_holm": (NUMBER, "adjusted for all declared claims; missing for exploratory ones"),
        "decisive": (COUNT, "units that turn the verdict if they are left out, 1 % of all; 0 if it stays"),
        "relative": (
            NUMBER,
            "change of the value in percent of that of `against`; below 0 for an error rate that sank",
        ),
        "better": (NUMBER, "percent of rows whose own value is better than that of `against`"),
        "worse": (NUMBER, "percent of rows whose own value is worse"),
        "equal": (NUMBER, "percent of rows whose own value is the same"),
    },
    "comparisons.tsv",
)
GROUPS = Table(
    "groups",
    "scores of the models that claims name, the best runs and the bases, on the rows of a test set that have one value of a column",
    MODEL
    | {
        "set": SET["set"],
        "by": (TEXT, "the column: of `by` in the configuration, speaker or language"),
        "group": (TEXT, "its value, or a quarter of its numbers; (missing) for rows without one"),
        "metric": SET["metric"],
        "value": (NUMBER, "the score over these rows"),
    }
    | INTERVAL
    | {"n": (COUNT, "rows"), "units": (COUNT, "what is resampled; of one unit there is no interval")},
    "groups.tsv",
)
COSTS = Table(
    "costs",
    "what models cost, measured on a few rows of a development set",
    MODEL
    | {
        "parameters": (COUNT, "numbers in the model"),
        "bytes": (COUNT, "size of its weights on disk"),
        "flops": (NUMBER, "operations for a second of audio or a token of the source"),
        "speed": (NUMBER, "median over rounds, in speed_unit"),
        "speed_unit": (TEXT, "s audio/s or tokens/s"),
        "memory": (NUMBER, "peak memory in MiB"),
        "device": (TEXT, "the processor or accelerator"),
        "speed_low": (NUMBER, "low end of the median's 95 % interval; of fewer than six rounds, the slowest"),
        "speed_high": (NUMBER, "high end of the median's 95 % interval; of fewer than six rounds, the fastest"),
        "window": (
            TEXT,
            "full or short, of models whose input has a fixed length; those trained on short windows have a row for each",
        ),
        "decoding": (TEXT, "decoding settings, for models that generate text token by token"),
        "rounds": (TEXT, "speed of each round, in their order; the models of an experiment take turns"),
    },
    "costs.tsv",
)
SEARCHES = Table(
    "searches",
    "what was tried on development sets before a choice: points between models, runs for a soup, settings of an average, layers to remove",
    MODEL
    | {
        "part": (TEXT, "encoder or decoder where layers were chosen; else empty"),
        "step": (COUNT, "the step of the search, in its order"),
        "candidate": (TEXT, "the model, the settings, the layer or the layers (from 1) that were tried"),
        "alpha": (NUMBER, "share of the second model, in an interpolation"),
        "parameters": (COUNT, "parameters of the candidate, if the choice is by size or speed"),
        "speed": (NUMBER, "speed of the candidate, if the choice is by speed: seconds of audio, or tokens, a second"),
        "set": (TEXT, "the development set; empty for all sets of the choice together"),
        "metric": (TEXT, "what `value` is: a metric, loss, influence, score or angle"),
        "value": (NUMBER, "its value"),
    }
    | INTERVAL
    | {
        "admissible": (FLAG, "whether the limits of choose_on are kept"),
        "chosen": (FLAG, "whether it was taken, added to the average, or removed from the model"),
    },
)
CURVES = Table(
    "curves",
    "training, a row every few seconds and a row an evaluation",
    MODEL
    | {
        "step": (COUNT, "optimizer steps so far"),
        "epoch": (NUMBER, "passes over the data so far"),
        "seconds": (NUMBER, "since the job began"),
        "loss": (NUMBER, "mean training loss since the row before"),
        "learning_rate": (NUMBER, "of the last step"),
        "grad_norm": (NUMBER, "before clipping"),
        "padding": (NUMBER, "share of padding in the batches"),
        "utterances_per_second": (NUMBER, "rows of training data a second"),
        "audio_seconds_per_second": (NUMBER, "speech only"),
        "tokens_per_second": (NUMBER, "translation only"),
        "objective": (NUMBER, "on the development sets of choose_on, at evaluations during training; higher is better"),
    },
)
TABLES = {table.name: table for table in (RUNS, SCORES, GROUPS, COMPARISONS, COSTS, SEARCHES, CURVES)}
