"""Where the sets lie that the benchmarks run over: in the repository, or below ``STEPAHEAD_DATASETS``."""

from __future__ import annotations

import os
from pathlib import Path

import click

PROTOCOL_OF_REALS = {
    "nyc_taxi": "stream",
    "taylor": "stream",
    "machine_temperature": "stream",
    "cpu_asg": "stream",
    "ETTh2": "etth",
    "ETTm1": "etth",
}
"""The long real-valued series, and which of :data:`service.cli.evaluate.PROTOCOLS` says what of them is scored."""

_EXAMPLES = Path(__file__).parent.parent / "examples"
_FILES = {
    "taylor": "taylor/taylor.csv",
    "machine_temperature": "nab/machine_temperature_system_failure.csv",
    "cpu_asg": "nab/cpu_utilization_asg_misconfiguration.csv",
    "ETTh2": "ett/ETTh2.csv",
    "ETTm1": "ett/ETTm1.csv.gz",
    "M4 hourly": "m4_hourly/m4_hourly_200.csv",
    "helpdesk": "process_logs/helpdesk.csv",
    "alice29": "text/alice29.txt",
    "book1": "text/book1",
}


def path_of(name: str) -> Path:
    """The file of a set; it need not be there."""
    if name == "nyc_taxi":
        return _EXAMPLES / "nyc_taxi.csv"
    return Path(os.environ.get("STEPAHEAD_DATASETS", "datasets")) / _FILES[name]


def is_there(name: str) -> bool:
    """Whether a set's file is there; if not, one line says so."""
    path = path_of(name)
    if not path.exists():
        click.echo(f"{name}: not there, left out ({path})", err=True)
    return path.exists()
