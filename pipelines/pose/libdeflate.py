"""One gzip member of a known size, read by libdeflate at a place of our choosing. Nothing is known here of poses.

The ``deflate`` package is libdeflate, but its function gives no word of where the member ended and allocates its own
output. The library's own function does both, and the package's binary exports it; where it does not (another build of
the package), the package's function and a search for the trailer do the same for a sixth more time.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from types import ModuleType

import deflate

_TRAILER = struct.Struct("<II")  # CRC-32 and size modulo 2**32 of what was compressed (RFC 1952, 2.3.1)

ReadMember = Callable[[bytes, int, int], bytearray | None]


def through_module(body: bytes, size_bytes: int, lead_bytes: int) -> bytearray | None:
    """``lead_bytes`` unset bytes and the payload, if ``body`` is exactly one gzip member of exactly ``size_bytes``.

    None if it is not, or in the one case in 2**64 described here. libdeflate ignores what follows the member but has
    checked that the eight bytes after it are (CRC-32, size) of the payload. If the body ends with just these, and
    nowhere before do they occur, then the member ends there too.
    """
    trailer = body[-_TRAILER.size :]
    if body.find(trailer) != len(body) - _TRAILER.size:
        return None
    try:
        payload = deflate.gzip_decompress(body, size_bytes)
    except deflate.DeflateError:
        return None
    if len(payload) != size_bytes or trailer != _TRAILER.pack(deflate.crc32(payload), size_bytes):
        return None
    return bytearray(lead_bytes) + payload


class _Decompressor:
    """libdeflate's state for one call at a time, and where it says how far it came."""

    __slots__ = ("handle", "read", "read_at", "written", "written_at")

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.read, self.written = ctypes.c_size_t(), ctypes.c_size_t()
        self.read_at, self.written_at = ctypes.addressof(self.read), ctypes.addressof(self.written)


def in_place(library: ModuleType) -> ReadMember | None:
    """The same as ``through_module`` by the functions ``library``'s binary exports, None if it does not."""
    try:
        binary = ctypes.PyDLL(str(library.__file__))
        allocate, gunzip = binary.libdeflate_alloc_decompressor, binary.libdeflate_gzip_decompress_ex
    except (OSError, AttributeError):
        return None
    allocate.argtypes, allocate.restype = (), ctypes.c_void_p
    size_t, pointer = ctypes.c_size_t, ctypes.c_void_p
    gunzip.argtypes = (pointer, ctypes.c_char_p, size_t, pointer, size_t, pointer, pointer)
    gunzip.restype = ctypes.c_int
    idle: list[_Decompressor] = []  # as many as threads have ever read at once; each is taken out while it is used
    address_of, first_byte = ctypes.addressof, ctypes.c_char.from_buffer

    def read_member(body: bytes, size_bytes: int, lead_bytes: int) -> bytearray | None:
        try:
            state = idle.pop()
        except IndexError:
            if not (handle := allocate()):
                raise MemoryError from None
            state = _Decompressor(handle)
        buffer = bytearray(lead_bytes + size_bytes)
        body_bytes = len(body)
        failed = gunzip(
            state.handle,
            body,
            body_bytes,
            address_of(first_byte(buffer, lead_bytes)),
            size_bytes,
            state.read_at,
            state.written_at,
        )
        whole = not failed and state.read.value == body_bytes and state.written.value == size_bytes
        idle.append(state)
        return buffer if whole else None

    return read_member


read_member: ReadMember = in_place(deflate._deflate) or through_module
