"""The options of ``restartix simulate``, grouped as its help shows them.

Belongs here: names, types, bounds, help. Does not belong here: what is done with them (``cli.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from pipelines.simulate.exercises import EXERCISES, FAULTS

DEFAULT_CORE_API: Final = "http://127.0.0.1:8000"

Function: TypeAlias = Callable[..., None]


class Speed(click.ParamType[float | None]):
    name = "NUMBER|max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:  # noqa: ANN401
        if value == "max" or value is None:
            return None
        try:
            speed = float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'max'", param, ctx)
        if not 0 < speed <= 10_000:
            self.fail("must be above 0 and at most 10000", param, ctx)
        return speed


class Fault(click.ParamType[tuple[str, float]]):
    name = "NAME[=STRENGTH]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:  # noqa: ANN401
        if isinstance(value, tuple):
            return value[0], value[1]
        name, _, strength = str(value).partition("=")
        if name not in FAULTS:
            self.fail(f"unknown fault {name!r}: one of {', '.join(FAULTS)}", param, ctx)
        try:
            number = float(strength or 1.0)
        except ValueError:
            self.fail(f"{strength!r} is not a number", param, ctx)
        if not 0 <= number <= 3:
            self.fail("a fault's strength is 0 to 3", param, ctx)
        return name, number


class CommandWithFaults(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        with formatter.indentation():
            formatter.write_dl(list(FAULTS.items()))


def patient_options(command: Function) -> Function:
    """What is performed."""
    for option in reversed(
        [
            click.option("--exercise", type=click.Choice(list(EXERCISES)), default="deep_squat", show_default=True),
            click.option("--reps", type=click.IntRange(0, 1000), default=10, show_default=True),
            click.option("--tempo", "tempo_s", type=float, default=4.0, show_default=True, help="Seconds a rep."),
            click.option("--range", "range_deg", type=float, help="Range of motion in degrees. [default: done well]"),
            click.option("--side", type=click.Choice(["left", "right", "both"]), help="[default: as usual]"),
            click.option("--noise", "noise_m", type=float, default=0.003, show_default=True, help="Metres (sd)."),
            click.option("--fault", "faults", type=Fault(), multiple=True, help="See below; may be repeated."),
            click.option("--dropouts", type=click.IntRange(0, 100), default=0, help="Times the body is lost."),
            click.option("--visibility", type=click.FloatRange(0, 1), default=0.95, show_default=True),
            click.option("--fps", type=click.IntRange(1, 120), default=30, show_default=True),
            click.option("--seed", type=int, default=0, show_default=True, help="Everything random follows from it."),
        ]
    ):
        option(command)
    return command


def file_options(command: Function) -> Function:
    """A recording from or to a file."""
    for option in reversed(
        [
            click.option(
                "--file",
                "source",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Play this .npz or .parquet instead. Coordinates come from a manifest.csv beside or above it.",
            ),
            click.option("--coord", type=click.Choice(["mp_world_m", "mp_norm_image"]), help="Of --file."),
            click.option("--frame-size", type=(float, float), help="Width and height in pixels, for mp_norm_image."),
            click.option(
                "--save", type=click.Path(dir_okay=False, path_type=Path), help="Write .npz or .parquet; send nothing."
            ),
            click.option("--dry-run", is_flag=True, help="Make the recording, say what it is, send nothing."),
        ]
    ):
        option(command)
    return command


def way_options(command: Function) -> Function:
    """Where it is sent, and how."""
    for option in reversed(
        [
            click.option("--core-api", envvar="RESTARTIX_CORE_API_URL", default=DEFAULT_CORE_API, show_default=True),
            click.option(
                "--identity-token",
                "identity_tokens",
                envvar="RESTARTIX_IDENTITY_TOKEN",
                multiple=True,
                help="For the Core API; one for all plans, or one a plan. [env RESTARTIX_IDENTITY_TOKEN]",
            ),
            click.option("--plan", "plans", type=int, multiple=True, help="Patient treatment plan; one a patient."),
            click.option("--exercise-id", type=int, help="The exercise to start, as the Core API numbers it."),
            click.option("--pain-before", type=click.IntRange(0, 10)),
            click.option("--complete", is_flag=True, help="Complete the treatment session afterwards."),
            click.option("--pain-after", type=click.IntRange(0, 10)),
            click.option("--token", "tokens", multiple=True, help="Session token; then no Core API is asked."),
            click.option("--ingest-url", help="Ingest node; needed with --token."),
            click.option("--patients", type=click.IntRange(1, 2000), default=1, show_default=True),
            click.option("--speed", type=Speed(), default="1", show_default=True, help="Times real time, or max."),
            click.option("--stop-after", "stop_after_s", type=float, help="Stop after so many seconds of it."),
            click.option(
                "--ending",
                type=click.Choice(["completed", "abandoned", "silent"]),
                default="completed",
                show_default=True,
            ),
            click.option(
                "--resend", "resend_share", type=click.FloatRange(0, 1), default=0.0, help="Share to send twice."
            ),
            click.option("--no-media", is_flag=True, help="No video events."),
            click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
        ]
    ):
        option(command)
    return command
