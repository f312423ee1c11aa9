"""How commands are found, and how their help is laid out."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["Command", "Group", "LazyGroup", "noun", "verb"]


class Command(TyperCommand):
    """A command whose help names arguments as its author did, and sets apart the options that
    many commands share."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [str(p.metavar) for p in self.params if _is_argument(p)]
        return [self.options_metavar or "", *arguments]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        params: list[Any] = self.get_params(ctx)
        for param in params:
            if _is_argument(param):
                sections.setdefault("Arguments", []).append((param.metavar, param.help))
            elif record := param.get_help_record(ctx):
                title = param.rich_help_panel or "Options"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


class Group(TyperGroup):
    """A noun; called bare, it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


class LazyGroup(Group):
    """The root. Its commands are stand-ins with a name and a line of help until one is called."""

    modules: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Command → the module (beside this one) whose `app` it is, and its line of help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in self.modules.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in if name is None else self.load(name), rest

    def load(self, name: str) -> Any:
        """The real command behind a stand-in."""
        module, _ = self.modules[name]
        command = get_command(import_module(f".{module}", __package__).app)
        command.name = name
        return command


def noun(line: str) -> typer.Typer:
    """An app for commands about one thing, which `line` describes."""
    return typer.Typer(
        cls=Group, help=line, callback=_nothing, add_completion=False, rich_markup_mode=None
    )


def verb(command: Callable[..., None]) -> typer.Typer:
    """An app that is one command."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=Command)(command)
    return app


def _nothing() -> None:
    """Makes an app with one command a group all the same."""
