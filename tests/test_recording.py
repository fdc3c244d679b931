"""The file of a recording: what is written is read again, whatever happens to the file in between."""

from __future__ import annotations

import os
import random
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basix_cti.errors import RecordingError
from basix_cti.recording import BEGIN, CONNECTED, DISCONNECTED, RECEIVED, SENT, Record, Recording, RecordingWriter

SAMPLES = Path(__file__).parent / "recordings"
FRAMES = [
    Record(1_700_000_000.0 + number / 8, RECEIVED, bytes([131, 109, 0, 0, 0, number]) + b"\x00CTIB" * number)
    for number in range(40)
]
TOLD = [
    Record.telling(1_700_000_000.0, CONNECTED, {"number": 1, "url": "ws://rig/basix/api/ws_cti"}),
    *FRAMES,
    Record(1_700_000_009.0, SENT, b'{"cmd": "hangup"}'),
    Record.telling(1_700_000_010.0, DISCONNECTED, {"kind": "ConnectionClosed", "message": "gone", "code": 1001}),
]


def write(path: Path, *batches: list[Record], compress: bool = False) -> Path:
    writer = RecordingWriter(path, 1_700_000_000.0, compress=compress)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path


def read(path: Path) -> tuple[list[Record], str | None]:
    """All records but the first of each recorder, and what could not be read."""
    recording = Recording(path)
    return [record for record in recording if record.kind != BEGIN], recording.trouble


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
class TestWhole:
    def test_what_is_written_is_read(self, compress: bool, tmp_path: Path) -> None:
        path = write(tmp_path / "r", TOLD[:5], [], TOLD[5:], compress=compress)
        assert read(path) == (TOLD, None)
        assert [record.at for record in Recording(path)][:2] == [1_700_000_000.0, 1_700_000_000.0]
        assert next(iter(Recording(path))).info["program"].startswith("basix_cti ")

    def test_a_second_recorder_writes_behind_the_first(self, compress: bool, tmp_path: Path) -> None:
        path = write(tmp_path / "r", TOLD, compress=compress)
        write(path, TOLD, compress=not compress)
        assert read(path) == (TOLD + TOLD, None)
        assert [record.kind for record in Recording(path)].count(BEGIN) == 2

    def test_records_of_all_sizes(self, compress: bool, tmp_path: Path) -> None:
        rng = random.Random(1)
        records = [Record(float(size), RECEIVED, rng.randbytes(size)) for size in (0, 1, 262_127, 262_128, 3_000_000)]
        path = write(tmp_path / "r", records, compress=compress)
        assert read(path) == (records, None)

    def test_it_can_be_read_while_it_is_written(self, compress: bool, tmp_path: Path) -> None:
        writer = RecordingWriter(tmp_path / "r", 0.0, compress=compress)
        recording = Recording(tmp_path / "r")
        for number, record in enumerate(FRAMES, 1):
            writer.write([record])
            assert list(recording)[1:] == FRAMES[:number]
        writer.close()
        assert recording.trouble is None
        assert recording.position == os.path.getsize(tmp_path / "r")

    def test_cut_off_anywhere_the_beginning_is_kept(self, compress: bool, tmp_path: Path) -> None:
        whole = write(tmp_path / "r", TOLD[:9], TOLD[9:], compress=compress).read_bytes()
        cut = tmp_path / "cut"
        known = 0
        for length in range(16, len(whole)):
            cut.write_bytes(whole[:length])
            records, trouble = read(cut)
            assert records == TOLD[: len(records)]
            assert len(records) >= known
            known = len(records)
            if trouble is None:  # it ends between two blocks
                assert len(records) in (0, 9)
            else:
                assert f"{cut} is cut off or damaged: of " in trouble
        assert known >= len(TOLD) - 2

    def test_a_recorder_goes_on_behind_a_torn_end(self, compress: bool, tmp_path: Path) -> None:
        whole = write(tmp_path / "r", TOLD[:9], TOLD[9:20], compress=compress).read_bytes()
        for cut in (1, 7, 30, 60, 100):
            torn = tmp_path / f"torn{cut}"
            torn.write_bytes(whole[:-cut])
            before, _ = read(torn)
            write(torn, TOLD[20:], compress=compress)
            records, trouble = read(torn)
            assert records == before + TOLD[20:]
            assert trouble is not None

    def test_damage_costs_its_own_block_alone(self, compress: bool, tmp_path: Path) -> None:
        path = tmp_path / "r"
        sizes = [len(write(path, compress=compress).read_bytes())]
        writer = RecordingWriter(path, 0.0, compress=compress)
        for record in FRAMES:
            writer.write([record])
            sizes.append(path.stat().st_size)
        writer.close()
        whole = path.read_bytes()
        rng = random.Random(2)
        for _ in range(60):
            at = rng.randrange(sizes[1], len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
            records, trouble = read(path)
            assert trouble is not None
            assert len(records) >= len(FRAMES) - 1
            assert [record for record in FRAMES if record in records] == [r for r in records if r in FRAMES]


@given(st.binary(max_size=300), st.integers(0, 200))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("junk") / "r"
    whole = write(path, TOLD[:4]).read_bytes()
    path.write_bytes(whole[: 16 + at] + junk)
    records, _ = read(path)
    assert all(isinstance(record.at, float) for record in records)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no recording"),
        (b"#!/bin/sh\n" * 9, "is no recording"),
        (b"\x89CTIREC\n", "is no recording"),
        (b"\x89CTIREC\n\x00\x02" + bytes(6), "is a recording of form 2; this release reads form 1"),
    ],
    ids=["empty", "foreign", "short", "later"],
)
def test_a_foreign_file(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=told) as caught:
        Recording(path)
    assert str(caught.value).startswith(str(path))
    if content:
        with pytest.raises(RecordingError, match=told):
            RecordingWriter(path, 0.0)
        assert path.read_bytes() == content


def test_a_directory_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Recording(tmp_path)
    with pytest.raises(FileNotFoundError):
        Recording(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        RecordingWriter(tmp_path, 0.0)


def block(inner: bytes, *, marker: bytes = b"CTIB", inflated: int | None = None) -> bytes:
    stored = zlib.compress(inner) if marker == b"CTIZ" else inner
    length = len(inner) if inflated is None else inflated
    return marker + struct.pack(">III", len(stored), length, zlib.crc32(stored)) + stored


def record(micros: int, letter: bytes, data: bytes) -> bytes:
    return struct.pack(">QcI", micros, letter, len(data)) + data


HEADER = b"\x89CTIREC\n\x00\x01" + bytes(6)


def test_kinds_of_a_later_release_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(HEADER + block(record(5, b"Q", b"?") + record(6_000_000, b"R", b"!")))
    assert read(path) == ([Record(6.0, RECEIVED, b"!")], None)


def test_a_time_beyond_all_calendars_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(HEADER + block(record(2**64 - 1, b"R", b"!")))
    assert read(path)[0][0].at == 253_402_300_799.0
    assert write(tmp_path / "w", [Record(-5.0, SENT, b""), Record(1e300, SENT, b"")]).exists()
    assert [record.at for record in read(tmp_path / "w")[0]] == [0.0, 253_402_300_799.0]


@pytest.mark.parametrize("claimed", [2**32 - 1, 64 * 1024 * 1024 + 1, 1000])
def test_a_bomb_takes_no_memory(claimed: int, tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(HEADER + block(bytes(50_000_000), marker=b"CTIZ", inflated=claimed) + block(record(0, b"S", b"!")))
    records, trouble = read(path)
    assert records == [Record(0.0, SENT, b"!")]
    assert trouble is not None


def test_what_tells_nothing(tmp_path: Path) -> None:
    for data in (b"", b"[1]", b"{", b"\xff", b"[" * 100_000):
        assert Record(0.0, CONNECTED, data).info == {}
    assert Record(0.0, RECEIVED, b'{"a": 1}').info == {}


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    assert stat.S_IMODE(write(tmp_path / "r", TOLD).stat().st_mode) == 0o600


def test_a_second_program_cannot_write_into_it(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", 0.0)
    program = "import sys; from basix_cti.recording import RecordingWriter; RecordingWriter(sys.argv[1], 0.0)"
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "r"], capture_output=True, text=True, timeout=40)
    assert "another program is recording into it" in done.stderr
    assert read(tmp_path / "r") == ([], None)
    writer.close()
    writer.close()
    write(tmp_path / "r", TOLD)


def test_new_refuses_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "r", TOLD)
    with pytest.raises(FileExistsError):
        RecordingWriter(path, 0.0, new=True)
    assert read(path) == (TOLD, None)


def test_a_record_that_is_too_large(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", 0.0)
    with pytest.raises(ValueError, match="larger than a recording can hold"):
        writer.write([FRAMES[0], Record(0.0, RECEIVED, bytes(64 * 1024 * 1024))])
    writer.write([FRAMES[1]])
    writer.close()
    assert read(tmp_path / "r")[0] == FRAMES[:2]


def test_a_full_disk_is_an_oserror() -> None:
    with pytest.raises(OSError, match="No space left"):
        RecordingWriter("/dev/full", 0.0)
