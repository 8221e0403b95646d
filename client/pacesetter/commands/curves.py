"""``pacesetter curves``: bring curves of runs that have ended to a service, and list those that it has."""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

from pacesetter.curves import Recording, Wanted, read_curve
from pacesetter.curves.uploads import key_of, upload_of
from pacesetter.errors import ConfigurationError, CurveError, ServiceError
from pacesetter.protocol import CurveUpload, Parametrization, Regime
from pacesetter.transport.calls import Calls
from pacesetter.transport.insisting import insist
from pacesetter.transport.opening import find_service
from pacesetter.transport.timing import Timing

SENT, LEFT = 0, 1
"""Exit codes: all is done; something could not be read or was not taken."""

GIVE_UP_SECONDS = 60.0
PAGE = 200

Writer = Callable[[str], object]


def add_parser(commands: Any) -> None:
    """Add ``curves`` with its verbs to the subcommands of an ``ArgumentParser``."""
    verbs = commands.add_parser(
        "curves", help="upload loss curves of runs that have ended, list stored ones"
    ).add_subparsers(dest="verb", required=True)
    upload = verbs.add_parser(
        "upload",
        help="send curves from CSV, JSON, JSONL, TensorBoard, W&B exports or MLflow runs",
        description="Long curves are averaged in blocks before they are sent. The same curve twice is one curve.",
    )
    upload.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="a file or a run's folder"
    )
    _add_about(upload)
    _add_columns(upload)
    upload.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    _add_service(upload)
    listing = verbs.add_parser("list", help="the stored curves, newest first")
    listing.add_argument("--family")
    listing.add_argument("--regime", choices=get_args(Regime))
    _add_service(listing)


def run(options: argparse.Namespace, write: Writer) -> int:
    """Carry out one verb; return the exit code.

    Raises:
        ConfigurationError: The command cannot work as it was called.
    """
    return _upload(options, write) if options.verb == "upload" else _list(options, write)


def _add_about(parser: argparse.ArgumentParser) -> None:
    about = parser.add_argument_group("what the runs are of (what is not known is left out)")
    about.add_argument("--name", help="of the run (default: of its file or folder)")
    about.add_argument("--family", help="what code, data and tokenizer have in common")
    about.add_argument("--regime", choices=get_args(Regime), help="default: pretrain")
    for flag, text in (
        ("--parameters", "without embeddings"),
        ("--tokens", "of the whole run"),
        ("--batch-tokens", "of an optimizer step, over all ranks"),
        ("--width-ratio", "over the family's base width"),
        ("--depth-ratio", "over the family's base depth"),
        ("--epochs", "how often the data were seen"),
        ("--momentum", "of SGD's buffer"),
        ("--weight-decay", "of the first parameter group"),
    ):
        about.add_argument(flag, type=float, help=text, metavar="NUMBER")
    about.add_argument("--optimizer", help="its class, such as AdamW (the default)")
    about.add_argument("--parametrization", choices=get_args(Parametrization))
    about.add_argument("--objective", help="what the training is for (default: loss)")
    about.add_argument("--objective-mode", choices=("min", "max"))
    about.add_argument(
        "--validated",
        action=argparse.BooleanOptionalAction,
        help="whether losses are of validations (default: by the column's name)",
    )
    about.add_argument(
        "--cut-short",
        dest="completed",
        action="store_const",
        const=False,
        help="the runs did not end with their budget",
    )
    about.add_argument(
        "--warmup",
        type=int,
        metavar="STEPS",
        help="over which the rate rose from zero before the first row",
    )


def _add_columns(parser: argparse.ArgumentParser) -> None:
    columns = parser.add_argument_group("columns, tags or metrics that usual names do not find")
    for role in ("step", "lr", "loss"):
        columns.add_argument(f"--{role}-column", metavar="NAME")
    columns.add_argument(
        "--lr-from", type=Path, metavar="FILE", help="learning rates, where FILE has losses alone"
    )


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the service (else PACESETTER_URL)")
    parser.add_argument("--token", help="a token that may register (else PACESETTER_TOKEN)")
    parser.add_argument(
        "--give-up-after",
        type=float,
        default=GIVE_UP_SECONDS,
        metavar="SECONDS",
        help="end when the service is away for so long (default: 60)",
    )


def _upload(options: argparse.Namespace, write: Writer) -> int:
    if options.name is not None and len(options.files) > 1:
        raise ConfigurationError("--name is for one run, and there are several files; leave it out")
    about = _about(options)
    # Before anything is read: a long log takes a while.
    calls = None if options.dry_run else _calls(options)
    taken = [_send(path, about, options, calls, write) for path in options.files]
    if calls is not None:
        calls.close()
    return SENT if all(taken) else LEFT


def _send(
    path: Path,
    about: dict[str, Any],
    options: argparse.Namespace,
    calls: Calls | None,
    write: Writer,
) -> bool:
    """Read a file and send its curve; say what came of it, and return whether it is stored."""
    wanted = Wanted(options.step_column, options.lr_column, options.loss_column)
    try:
        recording = read_curve(path, wanted, warmup=options.warmup or 0, lr_from=options.lr_from)
    except CurveError as error:
        sys.stderr.write(f"{path}: {error}\n")
        return False
    for note in recording.notes:
        sys.stderr.write(f"{path}: {note}\n")
    upload = upload_of(recording, about)
    if calls is None:
        write(f"{path}: {_described(recording, upload)}\n")
        return True
    body = upload.model_dump_json().encode()
    try:
        stored = insist(partial(calls.upload_curve, body, key_of(body)), options.give_up_after)
    except ServiceError as error:
        sys.stderr.write(f"{path}: not stored: {error}\n")
        return False
    write(f"{path}: {stored['id']}: {_described(recording, upload)}\n")
    return True


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was said of the runs; what was not keeps its default."""
    names = set(CurveUpload.model_fields) - {"objective", "steps", "lrs", "losses"}
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    objective = {"name": options.objective, "mode": options.objective_mode}
    kept = {name: value for name, value in objective.items() if value is not None}
    return {**given, **({"objective": kept} if kept else {})}


def _described(recording: Recording, upload: CurveUpload) -> str:
    points = recording.points
    kind = "validation" if upload.validated else "training"
    return (
        f"{points.last:,} steps, {len(upload.steps)} points of {recording.loss_name!r} ({kind}), "
        f"peak {points.lrs.max():.3g}, last loss {points.losses[points.finite][-1]:.5g}"
    )


def _list(options: argparse.Namespace, write: Writer) -> int:
    calls = _calls(options)
    wanted = {"family": options.family, "regime": options.regime, "page_size": PAGE}
    query = {name: value for name, value in wanted.items() if value is not None}
    try:
        while True:
            page = insist(partial(calls.curves, urlencode(query)), options.give_up_after)
            for curve in page["curves"]:
                write(f"{_line(curve)}\n")
            if not page["next_page_token"]:
                return SENT
            query["page_token"] = page["next_page_token"]
    except ServiceError as error:
        sys.stderr.write(f"pacesetter: {error}\n")
        return LEFT
    finally:
        calls.close()


def _line(curve: dict[str, Any]) -> str:
    record = curve["record"]
    final = "diverged" if record["final_loss"] is None else f"{record['final_loss']:.5g}"
    left_out = "  left out" if curve["excluded"] else ""
    family = record["workload"]["family"] or "-"
    return (
        f"{curve['id']}  {curve['source']:<6}  {family}  {record['regime']}  {record['optimizer']}  "
        f"{record['steps']:,} steps  peak {record['peak_lr']:.3g}  loss {final}  {curve['name']}{left_out}"
    )


def _calls(options: argparse.Namespace) -> Calls:
    _, locate = find_service(options.url)
    token = options.token or os.environ.get("PACESETTER_TOKEN") or None
    return Calls(locate, token, Timing())
