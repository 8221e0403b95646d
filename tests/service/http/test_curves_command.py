"""``pacesetter curves`` against a real service: files in, a list out, and on stderr what went wrong."""

import asyncio
import csv
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pacesetter.cli import main
from pacesetter.curves import MOST_POINTS
from pacesetter_service.curves.repository import CurveFilter
from pacesetter_service.http.services import Services
from pacesetter_service.views import StoredCurve

from tests.service.http.curves import PEAK, STEPS, truth
from tests.service.http.support import listening
from tests.service.http.test_auth import make_token

Captured = pytest.CaptureFixture[str]


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    async with listening(services) as found:
        yield found


def table(path: Path, name: str = "cosine", steps: int = STEPS, **named: str) -> Path:
    """Write a run of a known law, a row a step."""
    lrs, losses = truth(name, steps)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [named.get("step", "step"), named.get("lr", "lr"), named.get("loss", "loss")]
        )
        writer.writerows(zip(range(1, steps + 1), lrs, losses, strict=True))
    return path


async def upload(url: str, *arguments: str | Path) -> int:
    return await asyncio.to_thread(main, ["curves", "upload", *map(str, arguments), "--url", url])


async def curves(services: Services) -> list[StoredCurve]:
    """Return what is stored, oldest first."""
    return list((await services.controller.curves.page(CurveFilter())).items)[::-1]


async def test_files_become_curves_with_what_was_said_of_them(
    url: str, services: Services, tmp_path: Path, capsys: Captured
) -> None:
    files = [table(tmp_path / "a.csv"), table(tmp_path / "b.csv", "wsd", loss="val_loss")]
    said = ["--family", "gpt", "--parameters", "124e6", "--batch-tokens", "51200"]
    said += ["--weight-decay", "0.1", "--optimizer", "AdamW", "--objective", "nll", "--cut-short"]
    assert await upload(url, *files, *said) == 0
    first, second = await curves(services)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{files[0]}: {first.id}: 3,000 steps, ")
    assert "points of 'loss' (training), peak 0.0003, last loss " in lines[0]
    assert "points of 'val_loss' (validation)" in lines[1]
    assert (first.name, second.name) == ("a", "b")
    assert (first.record.validated, second.record.validated) == (False, True)
    record = first.record
    assert (record.workload.family, record.workload.parameters) == ("gpt", 124e6)
    assert (record.tokens, record.weight_decay, record.optimizer) == (STEPS * 51_200, 0.1, "adamw")
    assert (record.workload.objective.name, record.completed) == ("nll", False)
    assert record.regime == "pretrain"
    assert first.points <= MOST_POINTS
    assert record.final_loss == pytest.approx(float(truth("cosine")[1][-150:].mean()), abs=1e-3)


async def test_the_same_file_twice_is_one_curve(
    url: str, services: Services, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.csv")
    assert await upload(url, path) == 0
    assert await upload(url, path) == 0
    assert len(await curves(services)) == 1


async def test_a_run_of_every_kind_of_file(url: str, services: Services, tmp_path: Path) -> None:
    lrs, losses = truth("cosine")
    rows = [
        {"step": step, "learning_rate": float(lrs[step - 1]), "loss": float(losses[step - 1])}
        for step in range(10, STEPS + 1, 10)
    ]
    trainer, lines, mlflow = (tmp_path / name for name in ("trainer_state.json", "h.jsonl", "run"))
    trainer.write_text(json.dumps({"log_history": rows}))
    lines.write_text("\n".join(map(json.dumps, rows)))
    (mlflow / "metrics").mkdir(parents=True)
    (mlflow / "meta.yaml").write_text("run_name: owl\n")
    for name in ("learning_rate", "loss"):
        values = [f"1 {row[name]!r} {row['step']}" for row in rows]
        (mlflow / "metrics" / name).write_text("\n".join(values))
    assert await upload(url, trainer, lines, mlflow) == 0
    found = await curves(services)
    assert [one.name for one in found] == ["trainer_state", "h", "owl"]
    assert len({one.record.final_loss for one in found}) == 1
    assert found[0].record.peak_lr == pytest.approx(PEAK, rel=1e-3)


async def test_a_million_rows_are_averaged_before_they_are_sent(
    url: str, services: Services, tmp_path: Path
) -> None:
    """More than a body may have: what is sent are some tens of kilobytes."""
    count = 1_000_000
    steps = np.arange(1, count + 1)
    lrs, losses = PEAK * (1.0 - steps / (count + 1.0)), 2.0 + steps**-0.2
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("step,lr,loss\n")
        rows = zip(steps.tolist(), lrs.tolist(), losses.tolist(), strict=True)
        file.writelines(f"{step},{lr:.8g},{loss:.6f}\n" for step, lr, loss in rows)
    assert path.stat().st_size > services.settings.max_body_bytes
    assert await upload(url, path) == 0
    (found,) = await curves(services)
    assert (found.record.steps, found.points <= MOST_POINTS) == (count, True)
    assert found.record.shape_octaves == pytest.approx(0.0, abs=0.01)
    assert found.record.final_loss == pytest.approx(losses[-50_000:].mean(), abs=1e-4)


async def test_columns_may_be_named_and_rates_may_lie_elsewhere(
    url: str, services: Services, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.csv", step="t", lr="eta", loss="nats")
    named = ["--step-column", "t", "--lr-column", "eta", "--loss-column", "nats", "--name", "mine"]
    assert await upload(url, path, *named) == 0
    header = "Step,gpt - loss"
    losses = tmp_path / "loss.csv"
    losses.write_text("\n".join([header, *(f"{step},{3 / step}" for step in range(1, 50))]))
    rates = tmp_path / "lr.csv"
    rates.write_text("Step,gpt - lr\n1,0.1\n25,0.1\n50,0.0\n")
    assert await upload(url, losses, "--lr-from", rates) == 0
    first, second = await curves(services)
    assert (first.name, second.record.peak_lr) == ("mine", 0.1)


async def test_what_goes_wrong_names_file_column_and_what_to_do(
    url: str, services: Services, tmp_path: Path, capsys: Captured
) -> None:
    good, bad, worse = (tmp_path / name for name in ("good.csv", "bad.csv", "worse.csv"))
    table(good)
    bad.write_text("step,lr,loss\n1,0.1,high\n")
    worse.write_text("step,lr\n1,0.1\n")
    assert await upload(url, bad, worse, tmp_path / "none.csv", good) == 1
    errors = capsys.readouterr().err
    assert f"{bad}: {bad}, line 2, column 'loss': 'high' is no number" in errors
    assert f"{worse} has no column that is called like a loss" in errors
    assert "--loss-column" in errors
    assert "none.csv cannot be read: No such file" in errors
    assert [one.name for one in await curves(services)] == ["good"]


async def test_what_the_service_refuses_is_told_in_its_words(
    url: str, tmp_path: Path, capsys: Captured
) -> None:
    path = table(tmp_path / "a.csv")
    assert await upload(url, path, "--tokens", "1e9", "--batch-tokens", "51200") == 1
    errors = capsys.readouterr().err
    assert "not stored: 3,000 steps of 51200 tokens are 1.536e+08, and tokens are 1e+09" in errors
    assert "Give batch_tokens and tokens in one unit" in errors


async def test_what_cannot_be_is_said_before_anything_is_sent(
    url: str, services: Services, tmp_path: Path, capsys: Captured
) -> None:
    path = table(tmp_path / "a.csv")
    assert await upload(url, path, "--parameters", "0") == 2
    assert "parameters: Input should be greater than or equal to 1" in capsys.readouterr().err
    assert await upload(url, path, path, "--name", "x") == 2
    assert "--name is for one run" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["curves", "upload", str(path), "--url", "nowhere"]) == 2
    assert await upload(url, path, "--dry-run") == 0
    assert "3,000 steps" in capsys.readouterr().out
    assert await curves(services) == []


async def test_the_list_is_of_all_pages(
    url: str, services: Services, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacesetter.commands.curves.PAGE", 2)
    paths = [table(tmp_path / f"{number}.csv", steps=1000 + number) for number in range(5)]
    await upload(url, *paths, "--family", "gpt")
    await upload(url, table(tmp_path / "other.csv"), "--regime", "vision")
    first = (await curves(services))[0]
    await services.controller.curves.change(first.id, excluded=True)
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["curves", "list", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("other")
    assert "vision  adamw  3,000 steps  peak 0.0003  loss " in lines[0]
    assert lines[-1].startswith(first.id) and lines[-1].endswith("0  left out")
    assert await asyncio.to_thread(main, ["curves", "list", "--family", "gpt", "--url", url]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


async def test_a_token_that_may_not_is_told_so(
    guarded: Services, tmp_path: Path, capsys: Captured
) -> None:
    reads = await make_token(guarded, "read")
    path = table(tmp_path / "a.csv")
    async with listening(guarded) as url:
        assert await upload(url, path, "--token", reads) == 1
        assert "scope admin or register" in capsys.readouterr().err
        assert await upload(url, path, "--token", await make_token(guarded, "register")) == 0


class _Away(BaseHTTPRequestHandler):
    """Answers 503 twice, breaks off once, and then takes what is sent."""

    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        if len(self.keys) == 3:
            self.connection.close()
            return
        done = len(self.keys) > 3
        body: dict[str, Any] = {"id": "crv_1"} if done else {"detail": "busy"}
        text = json.dumps(body).encode()
        self.send_response(201 if done else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def away_at_first() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Away) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_away_is_asked_again_for_the_same_upload(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pacesetter.transport import insisting, timing

    quick = timing.Timing(backoff=1e-3, backoff_cap=1e-2)
    monkeypatch.setattr(insisting, "Timing", lambda: quick)
    with away_at_first() as url:
        path = table(tmp_path / "a.csv")
        assert main(["curves", "upload", str(path), "--url", url]) == 0
    assert len(_Away.keys) == 4
    assert len(set(_Away.keys)) == 1
    assert "crv_1" in capsys.readouterr().out


def test_a_service_that_stays_away_is_given_up(tmp_path: Path, capsys: Captured) -> None:
    path = table(tmp_path / "a.csv")
    arguments = ["curves", "upload", str(path), "--url", "http://127.0.0.1:9"]
    assert main([*arguments, "--give-up-after", "0"]) == 1
    assert "not stored: no connection" in capsys.readouterr().err
