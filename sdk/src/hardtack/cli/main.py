"""The `hardtack` command: finds the verb, and turns every error into one clear message."""

from __future__ import annotations

import difflib
import importlib
import io
import json
import signal
import sys
from typing import Any

import click

from hardtack import __version__
from hardtack.cli.interrupts import Interrupted
from hardtack_runtime.errors import ConfigError, DeviceError, HardtackError

VERBS = {
    "init": "write a deploy.toml for a model",
    "check": "say whether a model can be converted, before anything is",
    "train": "train the model until its bundle keeps to a size",
    "sensitivity": "show what pruning each layer alone would cost",
    "convert": "bake the model into a signed bundle",
    "inspect": "show what a bundle holds",
    "verify": "check a bundle's signature, digest and golden vectors",
    "pack": "make an .onnx or .tflite file small, for another runtime",
    "unpack": "restore a packed model byte for byte",
    "keys": "make and list signing keys",
    "agent": "run a device agent on this machine",
    "serve": "run the fleet controller (and a broker, unless there is one)",
    "push": "send a bundle to devices",
    "flash": "send a bundle to a microcontroller over a serial port",
    "firmware": "make a project of firmware for a board, and list the boards",
    "build": "compile a firmware project, show its sizes, load it onto its board",
    "devices": "list the devices of the fleet",
    "watch": "follow what the devices report",
    "demo": "convert, deploy, predict and report on this machine, no hardware",
    "doctor": "say what works on this machine and what is missing",
    "help": "explain an error code",
}
_EPILOG = """\b
Exit status: 0 done, 1 our fault, 2 wrong usage or configuration, 3 model not
convertible, 4 gate failed or does not fit, 5 device, transport or full disk,
6 signature or trust, 7 some devices only, 130 interrupted. `hardtack help HT201`
explains a code.
Errors go to stderr: text, or one JSON document with --json."""


class _Verbs(click.Group):
    """Knows every verb by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such verb {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"hardtack.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="hardtack %(version)s")
def cli() -> None:
    """Bake a trained model into a small signed bundle and carry it to a fleet."""


def render(error: HardtackError) -> str:
    """Return the message as people read it, in the manner of rustc."""
    lines = [f"error[{error.code}]: {error.met}"]
    if error.where:
        lines.append(f"  --> {error.where}")
    if error.todo:
        lines.append(f"   = try:  {error.todo}")
    lines.append(f"   = help: hardtack help {error.code}")
    return "\n".join(lines)


def _report(error: HardtackError, words: list[str]) -> int:
    click.echo(_as_json(error) if "--json" in words else render(error), err=True)
    return error.exit_status


def _as_json(error: HardtackError) -> str:
    fields = {"code": error.code, "where": error.where, "met": error.met, "todo": error.todo}
    return json.dumps({"error": fields, "exit_status": error.exit_status})


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its documented status."""
    words = sys.argv[1:] if arguments is None else arguments
    _print_anything()
    try:
        status: Any = cli.main(words, standalone_mode=False)
    except HardtackError as error:
        sys.exit(_report(error, words))
    except click.exceptions.Abort as error:
        click.echo("interrupted", err=True)
        if isinstance(error, Interrupted):
            _end(error)
        sys.exit(130)
    except click.ClickException as error:
        if "--json" in words and not isinstance(error, click.exceptions.NoArgsIsHelpError):
            where = (
                error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
            )
            sys.exit(_report(ConfigError("HT104", where, error.format_message()), words))
        error.show()
        sys.exit(error.exit_code)
    except (
        SystemExit
    ):  # of click's, no verb has one: the reader of our output, `head` say, has gone
        sys.exit(0)
    except OSError as error:
        sys.exit(_report(_refused(error), words))
    except Exception as error:
        sys.exit(_report(_unforeseen(error), words))
    sys.exit(status if isinstance(status, int) else 0)


def _end(interrupted: Interrupted) -> None:
    """Say what comes of it, and die of SIGTERM if that was what came."""
    click.echo(interrupted.hint, err=True)
    if interrupted.terminated:
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _print_anything() -> None:
    """Let a name that this terminal cannot show be printed with escapes, not end in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _refused(error: OSError) -> HardtackError:
    """Return what the operating system refused as one of ours."""
    from hardtack.files import FULL

    where, met = str(error.filename or ""), f"{error.strerror or error}"
    if error.errno in FULL:
        return DeviceError("HT603", where, met, "free space, then repeat")
    return ConfigError("HT107", where, met, "check the path and its permissions")


def _unforeseen(error: Exception) -> HardtackError:
    """Return what no verb foresaw; keep the traceback in a file for a bug report."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="hardtack-", suffix=".txt", delete=False
    ) as report:
        traceback.print_exception(error, file=report)
    met = f"{type(error).__name__}: {error}"
    return HardtackError("HT901", "", met, f"report it, with the file {report.name}")
