"""``untrimmed convert``."""
import typer


def convert(source: str = typer.Argument(...)) -> None:
    """Convert."""
