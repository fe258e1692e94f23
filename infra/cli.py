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
    "play": ("infra.demo.recordings:play", "Play recordings through the running stack and show their repetitions."),
    "simulate": ("pipelines.simulate.cli:simulate", "Play a simulated or recorded patient to the ingest service."),
    "eval": ("pipelines.evaluate.cli:evaluate", "Count and score recorded sequences, and report the errors."),
    "choose-counting": (
        "pipelines.evaluate.counting_choice_cli:choose",
        "Choose the counting thresholds without each subject in turn, and report it.",
    ),
    "fit-references": ("pipelines.evaluate.fit_cli:fit_references", "Learn profiles' references from recordings."),
    "plots": ("pipelines.evaluate.plots_cli:plots", "Draw recordings: angle over time, repetitions, deviations."),
    "finaliser": ("pipelines.finalise.cli:finaliser", "Run the finaliser of this node."),
    "subscriber": ("core_api.cli:subscriber", "Run the bus subscriber that writes results to PostgreSQL."),
    "relay": ("core_api.cli:relay", "Hand results to NATS, where the bus goes through it."),
    "dead-letters": ("core_api.cli:dead_letters", "Show results that were given up, and try them again."),
    "sweep": ("pipelines.finalise.cli:sweep", "Close sessions that have been silent for too long, once."),
    "expire-plans": ("pipelines.plans.cli:expire", "Expire treatment plans whose last day is over, once."),
    "retention": ("pipelines.retention.cli:retention", "Apply or show the retention policy."),
    "audit": ("core_api.audit_cli:audit", "Verify the audit log's chains, and keep their ends elsewhere."),
    "erase": ("pipelines.erasure.cli:erase", "Erase a patient, and certify it; replay erasures after a restore."),
    "export": ("core_api.export_cli:export", "Write everything about a patient into one archive."),
    "keys": ("core_api.keys_cli:keys", "Rotate the keys of column encryption."),
    "screenshots": ("orchestration.cli:screenshots", "Photograph Dagster's pages, as docs/operations.md shows them."),
}

# Typed by hand, these work on the local stack unless the environment says otherwise: command -> in environment.py.
ON_THE_LOCAL_STACK: Mapping[str, str] = {
    "simulate": "simulator",
    "dead-letters": "subscriber",
    "sweep": "orchestration",
    "expire-plans": "orchestration",
    "retention": "orchestration",
    "audit": "core_api",
    "erase": "orchestration",
    "export": "core_api",
    "keys": "core_api",
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
    process = ON_THE_LOCAL_STACK.get(ctx.invoked_subcommand or "")
    if process is not None:
        _point_at_the_local_stack(process)


def _point_at_the_local_stack(process: str) -> None:
    """Tell this process what the local stack would tell `process`, if there is one and nothing was told before."""
    told = any(name in os.environ for name in ("RESTARTIX_DATABASE_URL", "RESTARTIX_CORE_API_URL"))
    state = None if told else importlib.import_module("infra.stack.state").load_state(os.environ)
    if state is None:
        return
    variables = getattr(importlib.import_module("infra.stack.environment"), process)(state)
    for name, value in variables.items():
        if name.startswith(("RESTARTIX_", "AWS_")):
            os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
