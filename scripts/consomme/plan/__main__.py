"""`python -m consomme.plan CONFIG...`: look before a run, without starting Snakemake.

--targets EXPERIMENT/NODE[/RUN]   the files that make a model ready (`make model` hands them to Snakemake)
--answers                         the claims' answers and where the report is
--schema                          the JSON schema of configurations
--clean [--yes]                   models that none of the given configurations uses; --yes removes them
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from consomme.common.errors import ConsommeError, exit_on_error


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m consomme.plan", description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="*", type=Path, help="configuration files, later ones laid over earlier ones")
    parser.add_argument("--targets", metavar="EXPERIMENT/NODE[/RUN]")
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--schema", action="store_true")
    parser.add_argument("--clean", action="store_true", help="each file is a separate configuration; no overlay")
    parser.add_argument("--yes", action="store_true", help="with --clean: remove, do not only list")
    given = parser.parse_args(argv)
    with exit_on_error():
        _run(given)


def _run(given: argparse.Namespace) -> None:
    if given.schema:
        from consomme.plan.json_schema import schema_text

        print(schema_text(), end="")
        return
    from consomme.plan import look
    from consomme.plan.load import read
    from consomme.plan.plan import Plan

    if not given.config:
        raise ConsommeError("a configuration is needed, such as config/config.yaml")
    if given.clean:
        look.clean([Plan(read([file])) for file in given.config], given.yes)
        return
    plan = Plan(read(given.config))
    if given.targets:
        print("\n".join(plan.targets(given.targets)))
    elif given.answers:
        look.answers(plan)
    else:
        look.overview(plan)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly if the reader, such as `head`, closes the pipe
    main()
