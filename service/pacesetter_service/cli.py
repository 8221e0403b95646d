"""``pacesetter-server``: serve, migrate, token."""

import argparse
import asyncio
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pacesetter_service.auth.principal import DEFAULT_PROJECT, SCOPES
from pacesetter_service.commands.migrate import migrate
from pacesetter_service.commands.serve import serve
from pacesetter_service.commands.token import create_token, list_tokens, revoke_token
from pacesetter_service.errors import ControllerError
from pacesetter_service.http.operations.routes import VERSION
from pacesetter_service.logs import configure_logs
from pacesetter_service.settings import Settings, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name; return the process's exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        configure_logs(settings.log_format, settings.log_level)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(options, settings))
    except (SettingsError, ControllerError) as error:
        hint = getattr(error, "hint", "")
        print(f"pacesetter-server: {error}" + (f" ({hint})" if hint else ""), file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed: it answers about a third more reports a second."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(options: argparse.Namespace, settings: Settings) -> None:
    if options.command == "serve":
        await serve(settings, options.url_file)
    elif options.command == "migrate":
        await migrate(settings)
    elif options.action == "create":
        await create_token(
            settings, options.name, options.scope, options.project, options.expires_days
        )
    elif options.action == "list":
        await list_tokens(settings)
    else:
        await revoke_token(settings, options.id)


def _settings(options: argparse.Namespace) -> Settings:
    """Return the environment's settings with the command line's laid over them."""
    given = {
        name: getattr(options, name)
        for name in ("host", "port", "database_url", "data_dir", "log_format", "log_level")
        if getattr(options, name, None) is not None
    }
    return dataclasses.replace(Settings.from_environment(), **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pacesetter-server",
        description="Finds learning-rate schedules and sets the pace of running training jobs.",
    )
    parser.add_argument("--version", action="version", version=f"pacesetter-server {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands)
    _common(commands.add_parser("migrate", help="bring the database's schema up to date"))
    _add_token(commands)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        dest="database_url",
        metavar="URL",
        help="sqlite:///PATH or postgresql://... (default: a SQLite file in the data directory)",
    )
    parser.add_argument(
        "--data-dir", type=Path, help="default: $PACESETTER_DATA_DIR or ~/.local/share/pacesetter"
    )
    parser.add_argument("--log-format", choices=("console", "json"))
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("serve", help="run the service")
    parser.add_argument("--host", help="default: 127.0.0.1; any other address needs a token")
    parser.add_argument("--port", type=_port, help="0 picks a free one")
    parser.add_argument("--url-file", type=Path, help="write the base URL here once it listens")
    _common(parser)


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    token = commands.add_parser("token", help="create, list and revoke tokens")
    actions = token.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a token and print it, once")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument("--scope", action="append", choices=SCOPES, required=True)
    create.add_argument("--project", default=DEFAULT_PROJECT)
    create.add_argument("--expires-days", type=float, help="default: never")
    _common(create)
    _common(actions.add_parser("list", help="show the tokens, never their values"))
    revoke = actions.add_parser("revoke", help="make a token useless")
    revoke.add_argument("id")
    _common(revoke)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port; write 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
