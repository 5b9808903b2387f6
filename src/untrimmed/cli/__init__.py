"""The command line: one short module per command, which imports what it needs only when it runs."""

from __future__ import annotations

import os
import sys

import typer

from untrimmed import __version__
from untrimmed.cli import (
    annotate,
    check,
    compare,
    convert,
    curves,
    cut,
    demo,
    detect,
    diagnose,
    evaluate,
    export,
    extract,
    fuse,
    graph,
    import_features,
    postprocess,
    simulate,
    suggest,
    train,
    view,
)
from untrimmed.cli.values import ManyNumbers, OptionalAddress
from untrimmed.errors import UntrimmedError

app = typer.Typer(
    name="untrimmed",
    help="Find when actions start and end, and which they are, in long untrimmed videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(annotate.annotate)
app.command()(check.check)
app.command(cls=ManyNumbers)(compare.compare)
app.command()(train.configs)
app.command()(convert.convert)
app.command()(curves.curves)
app.command()(cut.cut)
app.command()(demo.demo)
app.command(cls=OptionalAddress)(detect.detect)
app.command(cls=ManyNumbers)(diagnose.diagnose)
app.command(cls=ManyNumbers)(evaluate.evaluate)
app.command()(export.export)
app.command(cls=OptionalAddress)(extract.extract)
app.command(cls=ManyNumbers)(fuse.fuse)
app.command()(graph.graph)
app.command()(import_features.import_features)
app.command()(postprocess.postprocess)
app.command()(simulate.simulate)
app.command()(suggest.suggest)
app.command()(train.train)
app.command()(view.view)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"untrimmed {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line: a user's mistake, or what the system refuses, is one line on stderr and exit
    code 2, never a traceback."""
    try:
        app()
    except UntrimmedError as error:
        # A name out of a file may hold a line break; the message is one line all the same.
        print("error:", *str(error).split("\n"), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        # A full disk, a folder that is a file, a file that may not be read: whatever no command foresaw.
        print("error:", f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        sys.exit(2)
