"""Both ways of reading one gzip member: they accept the same bodies, and only exactly one member of the size asked."""

from __future__ import annotations

import gzip
import threading
import types

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pose import libdeflate

EXPORTED = libdeflate.in_place(deflate._deflate)
WAYS = [pytest.param(libdeflate.through_module, id="module")]
if EXPORTED is not None:
    WAYS.append(pytest.param(EXPORTED, id="in-place"))


def test_the_locked_package_exports_the_librarys_functions() -> None:
    assert EXPORTED is not None
    assert libdeflate.read_member is not libdeflate.through_module


def test_a_binary_without_them_is_done_without() -> None:
    foreign = types.ModuleType("foreign")
    foreign.__file__ = "/nowhere.so"
    assert libdeflate.in_place(foreign) is None
    foreign.__file__ = None  # the interpreter itself, which knows nothing of libdeflate
    assert libdeflate.in_place(foreign) is None


@pytest.mark.parametrize("read_member", WAYS)
@given(payload=st.binary(min_size=1, max_size=3000), lead_bytes=st.integers(0, 20))
@settings(deadline=None)
def test_one_member_is_read_to_its_place(read_member: libdeflate.ReadMember, payload: bytes, lead_bytes: int) -> None:
    buffer = read_member(gzip.compress(payload), len(payload), lead_bytes)
    assert buffer is not None
    assert len(buffer) == lead_bytes + len(payload)
    assert buffer[lead_bytes:] == payload


@pytest.mark.parametrize("read_member", WAYS)
@given(payload=st.binary(min_size=2, max_size=500), tail=st.binary(min_size=1, max_size=40), cut=st.integers(1, 17))
@settings(deadline=None)
def test_nothing_else_is(read_member: libdeflate.ReadMember, payload: bytes, tail: bytes, cut: int) -> None:
    body = gzip.compress(payload)
    assert read_member(body, len(payload) - 1, 7) is None
    assert read_member(body, len(payload) + 1, 7) is None
    assert read_member(body[:-cut], len(payload), 7) is None
    assert read_member(body + tail, len(payload), 7) is None
    assert read_member(body + body, len(payload), 7) is None
    assert read_member(body + tail[:4].ljust(4) + body[-4:], len(payload), 7) is None  # ends with the right size


@pytest.mark.parametrize("read_member", WAYS)
@given(noise=st.binary(min_size=18, max_size=500), size_bytes=st.integers(1, 2000))
@settings(deadline=None)
def test_noise_is_no_member(read_member: libdeflate.ReadMember, noise: bytes, size_bytes: int) -> None:
    assert read_member(b"\x1f\x8b\x08\0" + noise, size_bytes, 7) is None


@pytest.mark.parametrize("read_member", WAYS)
def test_threads_do_not_share_a_call(read_member: libdeflate.ReadMember) -> None:
    payloads = [bytes([number]) * (1000 + number) for number in range(8)]
    wrong: list[int] = []

    def read(payload: bytes) -> None:
        body = gzip.compress(payload)
        wrong.extend(1 for _ in range(300) if read_member(body, len(payload), 7) != bytearray(7) + payload)

    threads = [threading.Thread(target=read, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
