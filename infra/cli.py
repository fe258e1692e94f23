"""`restartix`: every command of the product under one name.

A command's module is imported when the command is asked for: a fault in one room leaves the others usable, and help
is instant.

Belongs here: the list. Does not belong here: any command.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

import click

# name -> (module:attribute, one line of help)
COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("infra.stack.cli:up", "Start the local stack and wait until it is ready."),
    "down": ("infra.stack.cli:down", "Stop the local stack; its data stays."),
    "status": ("infra.stack.cli:status", "Show each process of the local stack."),
    "logs": ("infra.stack.cli:logs", "Show the end of the processes' logs."),
    "psql": ("infra.stack.cli:psql", "Open psql as one of the roles."),
    "token": ("infra.stack.cli:token", "Print an identity token for the local Core API."),
    "demo": ("infra.demo.cli:demo", "A week of three patients through the running stack."),
    "simulate": ("pipelines.simulate.cli:simulate", "Play a simulated or recorded patient to the ingest service."),
    "eval": ("pipelines.evaluate.cli:evaluate", "Count and score recorded sequences, and report the errors."),
    "finaliser": ("pipelines.finalise.cli:finaliser", "Run the finaliser of this node."),
    "subscriber": ("core_api.cli:subscriber", "Run the bus subscriber that writes results to PostgreSQL."),
    "sweep": ("pipelines.finalise.cli:sweep", "Close sessions that have been silent for too long, once."),
    "retention": ("pipelines.retention.cli:retention", "Apply or show the retention policy."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands from the table: help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """RestartiX Telemetry: pose and video events in; repetitions, form, engagement and dashboards out."""
    if ctx.invoked_subcommand == "simulate":
        _point_at_the_local_stack()


def _point_at_the_local_stack() -> None:
    """Unless told otherwise, a simulated patient talks to the local stack, whichever ports that found free."""
    state = importlib.import_module("infra.stack.state").load_state(os.environ)
    if state is not None:
        os.environ.setdefault("RESTARTIX_CORE_API_URL", state.url("core_api"))


if __name__ == "__main__":
    main()
