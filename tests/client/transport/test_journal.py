import json
import os
import random
from pathlib import Path

import pytest
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.conditions import Conditions
from pacesetter.transport.journal import Cursor, Entry, Journal, decode, encode

ALL = 10**9


def entry(number: int, size: int = 10, control: bool = True) -> Entry:
    record = json.dumps({"number": number, "fill": "x" * size}).encode()
    return Entry(number, record, control=control)


def read_all(journal: Journal) -> list[int]:
    return [one.number for one in journal.read(journal.head, ALL, ALL)[0]]


def test_a_line_is_json_and_comes_back_as_it_was() -> None:
    original = Entry(7, '{"text":"a  line separator, ü, \\" and }"}'.encode(), b'{"main_steps":3}')
    line = encode(original)
    assert decode(line) == original
    document = json.loads(line)
    assert document["number"] == 7
    assert document["ledger"] == {"main_steps": 3}
    assert document["length"] == len(original.record)


def test_any_single_damaged_byte_is_noticed() -> None:
    line = encode(entry(12))
    for place in range(len(line)):
        damaged = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        # The letters of the checksum itself may change case, which is the same number.
        assert decode(damaged) in (None, entry(12))
    assert all(decode(line[:cut]) is None for cut in range(len(line)))


def test_a_torn_last_line_is_skipped_and_the_next_process_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1), entry(2), entry(3)])
    journal.close()
    [file] = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-5])
    successor = Journal(tmp_path)
    assert read_all(successor) == [1, 2]
    assert successor.last_number() == 2
    successor.append([entry(4)])
    assert read_all(successor) == [1, 2, 4]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1), entry(2), entry(3)])
    [file] = tmp_path.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1].replace(b"xx", b"xy", 1) + lines[2])
    assert read_all(Journal(tmp_path)) == [1, 3]


def test_files_rotate_and_go_when_they_are_acknowledged(tmp_path: Path) -> None:
    journal = Journal(tmp_path, rotate_bytes=100)
    for number in range(1, 11):
        journal.append([entry(number, size=90)])
    assert len(list(tmp_path.glob("*.jsonl"))) == 10
    entries, cursor = journal.read(journal.head, 4, ALL)
    assert [one.number for one in entries] == [1, 2, 3, 4]
    journal.advance(cursor)
    assert len(list(tmp_path.glob("*.jsonl"))) == 7
    assert read_all(journal) == [5, 6, 7, 8, 9, 10]
    journal.advance(journal.read(journal.head, ALL, ALL)[1])
    assert [path.stat().st_size for path in tmp_path.glob("*.jsonl")] == [0]


def test_reading_keeps_to_its_bounds_but_returns_at_least_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(number, size=100) for number in range(1, 6)])
    entries, cursor = journal.read(Cursor(1, 0), ALL, 1)
    assert [one.number for one in entries] == [1]
    entries, _ = journal.read(cursor, ALL, 260)
    assert [one.number for one in entries] == [2, 3]


def test_an_append_that_the_disk_takes_only_in_part_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append([entry(1)])
    real_write = os.write
    calls = []

    def write_a_part(descriptor: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real_write(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write_a_part)
    with pytest.raises(OSError, match="No space left"):
        journal.append([entry(2), entry(3)])
    monkeypatch.undo()
    journal.append([entry(4)])
    assert read_all(Journal(tmp_path)) == [1, 4]


def test_a_backlog_forgets_exactly_what_is_acknowledged(tmp_path: Path) -> None:
    backlog = Backlog(Journal(tmp_path, rotate_bytes=200), Conditions(), 1 << 20)
    generator = random.Random(5)
    made = stored = 0
    while stored < 500:
        if made < 500 and generator.random() < 0.5:
            count = generator.randint(1, 9)
            backlog.put([entry(made + offset) for offset in range(1, count + 1)])
            made += count
        taken = [one.number for one in backlog.take(generator.randint(1, 7), ALL)]
        assert taken == list(range(stored + 1, stored + 1 + len(taken)))
        if taken and generator.random() < 0.7:
            stored = generator.randint(stored, taken[-1])
            backlog.acknowledge(stored)
        assert backlog.pending() == made - stored


def test_a_full_disk_costs_measurements_only_and_order_stays(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.write_text("a file where the folder should be")
    conditions = Conditions()
    backlog = Backlog(Journal(folder), conditions, memory_bytes=2000)
    for number in range(1, 101):
        backlog.put([entry(number, size=50, control=number % 10 == 0)])
    assert conditions.lasts("DISK")
    taken = [one.number for one in backlog.take(ALL, ALL)]
    assert taken == sorted(taken)
    assert set(range(10, 101, 10)) <= set(taken), "no control record is dropped"
    assert sum(len(entry(number, size=50).record) for number in taken) <= 2000
    assert max(taken) == 100 and 99 in taken, "the oldest go first"
    assert backlog.take_dropped() == 0, "still full"

    sending = [one.number for one in backlog.take(5, ALL)]
    for number in range(101, 201):
        backlog.put([entry(number, size=50, control=False)])
    taken = [one.number for one in backlog.take(ALL, ALL)]
    assert taken[:5] == sending, "what is being sent is not dropped"

    folder.unlink()
    backlog.put([entry(201)])
    assert not conditions.lasts("DISK")
    assert backlog.take_dropped() == 200 - len(taken)
    assert backlog.take_dropped() == 0
    assert [one.number for one in backlog.take(ALL, ALL)] == [*taken, 201]
    assert backlog.pending() == len(taken) + 1
