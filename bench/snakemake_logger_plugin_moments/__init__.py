"""A logger of Snakemake that writes when each job was started and finished, as lines of JSON. Snakemake finds it by its name
where PYTHONPATH has this folder: snakemake --logger moments --logger-moments-file FILE"""

import json
from dataclasses import dataclass, field
from logging import LogRecord
from typing import Optional

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    file: Optional[str] = field(  # noqa: UP045  Snakemake reads the type
        default=None, metadata={"help": "the file to append to", "required": True, "env_var": False}
    )


class LogHandler(LogHandlerBase):
    """Each line has `event` and `time`, seconds since 1970. `started` has the jobs' numbers, `finished` one, `job` what a
    job is: number, rule, threads, input, output, log, benchmark."""

    writes_to_stream = False
    writes_to_file = False  # of Snakemake's own lines
    has_filter = True  # all events, however quiet the screen is
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record: LogRecord) -> None:
        given = vars(record)
        found = {
            LogEvent.JOB_STARTED: lambda: {"event": "started", "jobs": list(given["jobs"])},
            LogEvent.JOB_FINISHED: lambda: {"event": "finished", "job": given["job_id"]},
            LogEvent.JOB_INFO: lambda: {
                "event": "job",
                "job": given["jobid"],
                "rule": given["rule_name"],
                **{key: given[key] for key in ("threads", "input", "output", "log", "benchmark")},
            },
        }
        if what := found.get(given.get("event")):
            with open(self.settings.file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"time": record.created, **what()}, default=str) + "\n")
