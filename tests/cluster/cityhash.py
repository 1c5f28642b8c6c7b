"""CityHash128 with a seed, of CityHash 1.0.2 (MIT, Google), by which ClickHouse's checksums go on from block to block.

The bindings that Hitline's local ClickHouse uses leave the seed aside.
"""

from __future__ import annotations

_M = (1 << 64) - 1
_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69

Pair = tuple[int, int]


def hash128(data: bytes, seed: Pair) -> Pair:
    """Return the low and the high half of the hash."""
    return _long(data, seed) if len(data) >= 128 else _murmur(data, seed)


def _at(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 8], "little")


def _rotate(value: int, by: int) -> int:
    value &= _M
    return (value >> by | value << (64 - by)) & _M


def _mix(value: int) -> int:
    value &= _M
    return value ^ value >> 47


def _of_two(u: int, v: int) -> int:
    a = _mix(((u ^ v) & _M) * _MUL)
    return _mix((v & _M ^ a) * _MUL) * _MUL & _M


def _short(data: bytes) -> int:
    size = len(data)
    if size > 8:
        last = _at(data, size - 8)
        return _of_two(_at(data, 0), _rotate(last + size, size)) ^ last
    if size >= 4:
        return _of_two(size + (int.from_bytes(data[:4], "little") << 3), int.from_bytes(data[-4:], "little"))
    if size:
        y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
        return _mix(y * _K2 ^ z * _K3) * _K2 & _M
    return _K2


def _murmur(data: bytes, seed: Pair) -> Pair:
    a, b = seed
    size = len(data)
    if size <= 16:
        a = _mix(a * _K1) * _K1 & _M
        c = (b * _K1 + _short(data)) & _M
        d = _mix(a + (_at(data, 0) if size >= 8 else c))
    else:
        c = _of_two(_at(data, size - 8) + _K1, a)
        d = _of_two(b + size, c + _at(data, size - 16))
        a = (a + d) & _M
        for place in range(0, size - 16, 16):
            a = (a ^ _mix(_at(data, place) * _K1) * _K1) * _K1 & _M
            b ^= a
            c = (c ^ _mix(_at(data, place + 8) * _K1) * _K1) * _K1 & _M
            d ^= c
    a, b = _of_two(a, c), _of_two(d, b)
    return a ^ b, _of_two(b, a)


def _weak(data: bytes, place: int, a: int, b: int) -> Pair:
    w, x, y, z = (_at(data, place + 8 * number) for number in range(4))
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    return (a + z) & _M, (b + _rotate(a, 44) + c) & _M


def _long(data: bytes, seed: Pair) -> Pair:
    x, y = seed
    size = len(data)
    z = size * _K1 & _M
    first = (_rotate(y ^ _K1, 49) * _K1 + _at(data, 0)) & _M
    v = first, (_rotate(first, 42) * _K1 + _at(data, 8)) & _M
    w = (_rotate(y + z, 35) * _K1 + x) & _M, _rotate(x + _at(data, 88), 53) * _K1 & _M
    place = 0
    while size >= 128:
        for _ in range(2):
            x = _rotate(x + y + v[0] + _at(data, place + 16), 37) * _K1 & _M ^ w[1]
            y = _rotate(y + v[1] + _at(data, place + 48), 42) * _K1 & _M ^ v[0]
            z = _rotate(z ^ w[0], 33)
            v = _weak(data, place, v[1] * _K1, x + w[0])
            w = _weak(data, place + 32, z + w[1], y)
            z, x = x, z
            place += 64
        size -= 128
    y = (y + _rotate(w[0], 37) * _K0 + z) & _M
    x = (x + _rotate(v[0] + z, 49) * _K0) & _M
    for done in range(32, size + 32, 32):
        end = place + size - done
        y = (_rotate(y - x, 42) * _K0 + v[1]) & _M
        w = (w[0] + _at(data, end + 16)) & _M, w[1]
        x = (_rotate(x, 49) * _K0 + w[0]) & _M
        w = (w[0] + v[0]) & _M, w[1]
        v = _weak(data, end, *v)
    x, y = _of_two(x, v[0]), _of_two(y, w[0])
    return (_of_two(x + v[1], w[1]) + y) & _M, _of_two(x + w[1], y + v[1])
