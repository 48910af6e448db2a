"""The command `consomme`. Each command imports its modules when it is called, so that the help appears at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from consomme.common.errors import ConsommeError, exit_on_error

MORE = "snakemake"  # key of a context's meta for the arguments after --
DRY = {"-n", "--dry-run", "--dryrun"}  # also Snakemake's, after --
UNLOCK = "--unlock"  # Snakemake's


class Group(TyperGroup):
    """Errors that a user can correct become one line on the screen and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        with exit_on_error():
            return super().invoke(ctx)


class WithSnakemake(TyperCommand):
    """A command that passes the arguments after -- to Snakemake."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[MORE] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


class HandedOver(TyperCommand):
    """A command that passes all arguments, also --help, to a function with its own parser."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []


app = typer.Typer(
    cls=Group,
    name="consomme",
    help="Train many, average, reduce: better and smaller speech recognisers and translators, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
START, RUN, HAND = "Before a run", "A run and its results", "By hand"

Config = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="CONFIG", help="Configuration files; later ones are laid over earlier ones. Default: the demo."
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        help="A folder of profiles/, such as local, gpu, slurm, cluster, generic, kubernetes; or any with a profile.yaml."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Only count the jobs that would run, as Snakemake's option does.")
]
Cores = Annotated[str | None, typer.Option(metavar="N", help="At most N cores, or all; default: the profile's.")]


def _version(wanted: bool) -> None:
    if wanted:
        import consomme

        print(f"consomme {consomme.__version__}")
        raise typer.Exit


@app.callback(
    epilog="Write further arguments of Snakemake after --, such as: consomme run mine.yaml -- --printshellcmds"
)
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _plan(config: Sequence[Path] | None) -> tuple[list[Path], Any]:
    """The configuration's files (default: the demo's) and their plan."""
    from consomme.plan.load import read
    from consomme.plan.plan import Plan
    from consomme.workflow import demo

    files = list(config or demo())
    return files, Plan(read(files))


# -- before a run ------------------------------------------------------------------------------------------------------
@app.command(rich_help_panel=START)
def init(
    task: Annotated[Literal["asr", "nmt"], typer.Option(help="Speech recognition or translation.")],
    language: Annotated[
        list[str],
        typer.Option(metavar="CODE", help="Spoken language; for nmt source and target: --language en --language fr."),
    ],
    train: Annotated[Path, typer.Option(metavar="DATA", help="Training data; for formats see above.")],
    dev: Annotated[Path | None, typer.Option(metavar="DATA", help="Development data, for choices.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="DATA", help="Test data, for claims.")] = None,
    base: Annotated[
        str | None, typer.Option(help="A name on the Hugging Face hub, or a folder; without it: from scratch.")
    ] = None,
    goal: Annotated[
        Literal["best", "small", "balanced"],
        typer.Option(help="The best model; half the size; or one that learns and keeps what the base can do."),
    ] = "best",
    general_dev: Annotated[
        Path | None, typer.Option(metavar="DATA", help="balanced: development data for what the base can do.")
    ] = None,
    general_test: Annotated[
        Path | None, typer.Option(metavar="DATA", help="balanced: test data for what the base can do.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; default: asr-sv.yaml and the like.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Look at your data and write a commented configuration for it.

    DATA is, for asr: a table (.tsv, .csv, .jsonl) with columns for audio and text, a table of Common Voice, or a folder
    of recordings with a .txt file beside each. For nmt: PREFIX of PREFIX.en and PREFIX.fr, or a table of source and
    target."""
    from consomme.init.write import Asked
    from consomme.init.write import init as write

    path = out or Path("-".join([task, *language]) + ".yaml")
    asked = Asked(task, language, goal, train, dev, test, general_dev, general_test, base)
    settings, made = write(asked, path, force)
    for note in settings.notes:
        print(f"note: {note}")
    print(f"{path} is written: {len(made.models)} models. Next:")
    for step in ("doctor", "plan", "run"):
        print(f"  consomme {step} {path}")


@app.command(rich_help_panel=START)
def doctor(
    config: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CONFIG", help="A configuration whose needs are checked too; default: only the machine."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="The profile whose partitions or store must exist.")] = "slurm",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER_OR_NAME",
            help="Instead: try a checkpoint, a folder or a name on the Hugging Face hub, with a few made-up rows.",
        ),
    ] = None,
) -> None:
    """Check whether a run will work here. One line per check; a failed one says what to do, and the exit code is 1."""
    from consomme.doctor.checks import asked_of, findings, show
    from consomme.workflow import profile_folder

    if model is not None:
        _try(model)
        return
    if not show(findings(asked_of(config or [], profile_folder(profile)))):
        raise typer.Exit(1)


def _try(name: str) -> None:
    """Try a checkpoint, and exit with 1 if a step fails."""
    from consomme.doctor.checks import show_one
    from consomme.doctor.trial import WIDTH, Trial

    trial, well = Trial(name), True
    for step, finding in trial.findings():
        show_one(step, finding, WIDTH)
        well = well and finding.well is not False
    for crash in trial.crashes:
        print(crash, file=sys.stderr)
    if not well:
        raise typer.Exit(1)


@app.command(rich_help_panel=START)
def plan(config: Config = None) -> None:
    """Show the jobs of a configuration, its finished models and its missing data. Starts nothing."""
    from consomme.plan import look

    look.overview(_plan(config)[1])


@app.command(rich_help_panel=START)
def dag(
    config: Config = None,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("results/dag"),
) -> None:
    """Draw the graph of models and the graph of rules."""
    from consomme.report.pictures import draw
    from consomme.workflow import demo, file_of

    for path in draw(list(config or demo()), out, file_of("Snakefile")):
        print(path)


@app.command(rich_help_panel=START)
def schema() -> None:
    """Print the JSON schema of configurations, for checks and completion in editors."""
    from consomme.plan.json_schema import schema_text

    print(schema_text(), end="")


# -- a run and its results ---------------------------------------------------------------------------------------------
@app.command(rich_help_panel=RUN, cls=WithSnakemake)
def run(
    ctx: typer.Context,
    config: Config = None,
    profile: Profile = "local",
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Make everything that a configuration describes and print the answers. Results lie in results/."""
    from consomme.plan import keeping, look
    from consomme.workflow import snakemake

    files, found = _plan(config)
    found.need_sources()  # an earlier error than Snakemake's
    more = [*ctx.meta[MORE], *["--dry-run"] * dry_run]
    if status := snakemake(files, profile, cores, more):
        raise typer.Exit(status)
    if not (DRY | {UNLOCK}) & set(more):
        for line in keeping.tidy_up(found):  # where nothing was to be done, Snakemake hasn't
            print(line)
        look.answers(found)


@app.command(rich_help_panel=RUN, cls=WithSnakemake)
def model(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="EXPERIMENT/NODE[/RUN]", help="The model; all runs without RUN.")],
    config: Config = None,
    profile: Profile = "local",
    cores: Cores = None,
    dry_run: DryRun = False,
) -> None:
    """Make one model and everything that it depends on."""
    from consomme.workflow import snakemake

    files, found = _plan(config)
    more = [*ctx.meta[MORE], *["--dry-run"] * dry_run]
    raise typer.Exit(snakemake(files, profile, cores, more, found.targets(node)))


@app.command(rich_help_panel=RUN, cls=WithSnakemake)
def unseal(
    ctx: typer.Context,
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The configuration; an overlay follows its file after a comma.")
    ],
    experiment: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT]", help="Default: all that have sealed test sets.")
    ] = None,
    profile: Profile = "local",
    cores: Cores = None,
) -> None:
    """Decode sealed test sets, once and for all, with the models that claims on them name, and make the report."""
    from consomme.plan import look
    from consomme.plan.unseal import unseal
    from consomme.workflow import snakemake

    if DRY & set(ctx.meta[MORE]):
        raise ConsommeError("a seal is broken or not; there is no dry run of it")
    files, found = _plan([Path(part) for part in str(config).split(",")])
    found.need_sources()
    if not unseal(found, experiment, files[0].parent):
        return
    if status := snakemake(files, profile, cores, ctx.meta[MORE]):
        raise typer.Exit(status)
    look.answers(found)


@app.command(rich_help_panel=RUN, cls=WithSnakemake)
def report(ctx: typer.Context, config: Config = None, profile: Profile = "local") -> None:
    """Print the answers of a finished run, and write Snakemake's own report to results/snakemake-report.html."""
    from consomme.plan import look
    from consomme.workflow import snakemake

    files, found = _plan(config)
    look.answers(found)
    if missing := look.unfinished(found):
        raise ConsommeError(
            f"no report yet of {', '.join(missing)}; `consomme run {' '.join(map(str, files))}` makes what is missing"
        )
    page = "results/snakemake-report.html"
    raise typer.Exit(snakemake(files, profile, more=[*ctx.meta[MORE], "--report", page]))


@app.command(rich_help_panel=RUN)
def fetch(
    address: Annotated[
        str, typer.Argument(metavar="STORE", help="As in a profile: s3://BUCKET/FOLDER, az://CONTAINER/FOLDER.")
    ],
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Folders and files in results/, whole; default: all texts, without weights."
        ),
    ] = None,
) -> None:
    """Bring results from a store into results/ here, as far as they are not here yet."""
    from consomme.report.fetch import fetch

    print(fetch(address, places or ()))


@app.command(rich_help_panel=RUN)
def status(
    config: Config = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until Ctrl-C.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page, which loads itself anew every few seconds.")
    ] = None,
) -> None:
    """Show what runs, failed, waits and is done, with step, loss, speed and time left of each training.

    It reads the files in results/ alone: also on a login node, while jobs run elsewhere, and without Snakemake."""
    from consomme.status.jobs import jobs
    from consomme.status.show import show

    files, found = _plan(config)
    show(lambda: jobs(found), " ".join(map(str, files)), html, watch)


@app.command(rich_help_panel=RUN)
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="results/EXPERIMENT, or a folder of such folders.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of another configuration, seed or version.")],
) -> None:
    """Show the scores of two finished runs side by side, for models of one name, and which settings differ."""
    from consomme.report.compare import compare as show

    show(first, second)


@app.command(rich_help_panel=RUN)
def verify(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The folder of results.")] = Path("results"),
) -> None:
    """Check finished models, corpora, hypotheses and tables against what was recorded when they were made.

    It reads every file, and writes none. What is damaged is named, with what to remove so that the next run makes it anew;
    the exit code is 1 then."""
    from consomme.verify import verify

    if not results.is_dir():
        raise ConsommeError(f"{results}: no such folder; `consomme verify RESULTS` checks a folder of results")
    if not verify(results):
        raise typer.Exit(1)


@app.command(rich_help_panel=RUN)
def clean(
    config: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG", help="Configurations whose models are kept; an overlay follows its file after a comma."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove them instead of only listing them.")] = False,
) -> None:
    """List the models and corpora that none of these configurations uses, and what killed jobs left; --yes removes them."""
    from consomme.plan import look

    look.clean([_plan([Path(part) for part in str(file).split(",")])[1] for file in config], yes)


# -- by hand -----------------------------------------------------------------------------------------------------------
@app.command(rich_help_panel=HAND, cls=HandedOver)
def average(ctx: typer.Context) -> None:
    """Average model folders, with no configuration and no data."""
    from consomme.average.stage import entry

    entry(ctx.args, prog=ctx.command_path)


@app.command(rich_help_panel=HAND, cls=HandedOver)
def transcribe(ctx: typer.Context) -> None:
    """Transcribe audio files with a model."""
    from consomme.transcribe import main

    main(ctx.args, prog=ctx.command_path)


@app.command(rich_help_panel=HAND, cls=HandedOver)
def translate(ctx: typer.Context) -> None:
    """Translate a text file, or standard input, with a model."""
    from consomme.translate import main

    main(ctx.args, prog=ctx.command_path)


@app.command(rich_help_panel=HAND, cls=HandedOver)
def push(ctx: typer.Context) -> None:
    """Put a finished model on the Hugging Face hub, with its card."""
    from consomme.push import main

    main(ctx.args, prog=ctx.command_path)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly if the reader, such as `head`, closes the pipe
    app(prog_name="consomme")
