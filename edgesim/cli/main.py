"""The `edgesim` command: finds the subcommands in this folder, runs one, turns what happened into an exit code.

Each module of the folder without a leading underscore is a subcommand and defines `command`; there is no list to edit.
Exit codes: 0 ok · 1 failed · 2 usage or configuration · 3 control plane unreachable · 4 rollout failed · 98 load run
inconclusive · 99 threshold failed · 130 interrupted.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

import edgesim.cli
from edgesim.cli._errors import INTERRUPTED, internal_error, show_error
from edgesim.cli._output import hang_up
from edgesim.errors import EdgesimError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLICKS_WORDS = {
    "is not a valid integer range": "is not a whole number",
    "is not a valid float range": "is not a number",
}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def command_names() -> list[str]:
    """The subcommands: the modules of this folder, sorted."""
    modules = (m.name for m in pkgutil.iter_modules(edgesim.cli.__path__))
    return sorted(name.replace("_", "-") for name in modules if name != "main" and not name.startswith("_"))


class FolderGroup(click.Group):
    """A click group whose commands are the modules of a folder, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of all subcommands."""
        return command_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand with this name, or None."""
        if cmd_name not in command_names():
            return None
        module = importlib.import_module(f"edgesim.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(cls=FolderGroup, name="edgesim", context_settings=_CONTEXT)
@click.option("--debug", is_flag=True, envvar="EDGESIM_DEBUG", help="Show the traceback of an internal error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """A whole edge CDN on one machine: deploy Wasm workers to PoPs, route to them, kill things, measure.

    Start with `edgesim up`, then `edgesim deploy workers/hello` and `edgesim curl hello`.
    """
    ctx.obj = {"debug": debug}


def run(args: Sequence[str]) -> int:
    """Run the command line `args` and say its exit code. Every error is shown here, and only here."""
    before_dashes = list(args)[: list(args).index("--")] if "--" in args else list(args)
    as_json = "--json" in before_dashes
    debug = "--debug" in before_dashes or bool(os.environ.get("EDGESIM_DEBUG"))
    try:
        result: Any = cli.main(args=list(args), prog_name="edgesim", standalone_mode=False)
        sys.stdout.flush()
    except EdgesimError as exc:
        error = exc
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        return 2
    except click.ClickException as exc:
        error = usage_error(exc)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click turns the former into the latter
        hang_up()  # `edgesim status | head -1`: end without a word
        return 0
    except Exception as exc:  # noqa: BLE001 - the last line of defence: named as ours, with a file to report
        error = internal_error(exc, debug=debug)
    else:
        return result if isinstance(result, int) else 0
    try:
        show_error(error, as_json=as_json)
    except BrokenPipeError:
        hang_up()  # `edgesim status | head -1`: end without a word
        return 0
    return error.exit_code


def main() -> NoReturn:
    """Entry point of the `edgesim` script."""
    sys.exit(run(sys.argv[1:]))


def usage_error(exc: click.ClickException) -> UsageError:
    """Click's complaint about the command line as one of ours."""
    ctx = getattr(exc, "ctx", None)
    path = ctx.command_path if ctx else "edgesim"
    helps = []
    message = exc.format_message().rstrip(".")
    for theirs, ours in _CLICKS_WORDS.items():
        message = message.replace(theirs, ours)
    if isinstance(exc, click.NoSuchOption):
        message = f"no such option: {exc.option_name}"
        if exc.possibilities:
            helps.append(f"did you mean {' or '.join(sorted(exc.possibilities))}?")
    elif ctx is not None and isinstance(ctx.command, click.Group) and message.startswith("No such command"):
        wanted = message.split("'")[1] if "'" in message else ""
        message = f"no such command: {ctx.command_path} {wanted}".replace("edgesim ", "", 1)
        near = difflib.get_close_matches(wanted, ctx.command.list_commands(ctx), n=2, cutoff=0.5)
        if near:
            helps.append(f"did you mean {' or '.join(near)}?")
    helps.append(f"see `{path} --help`")
    return UsageError(message, help=" ".join(helps))
