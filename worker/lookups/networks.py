"""A set of networks; what a look-up costs does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from worker.lookups.addresses import Address

Network = IPv4Network | IPv6Network

#: Of v6: what stands for the v4 address space (RFC 4291 section 2.5.5.2).
_V4_MAPPED_BITS = 96


def parse_network(text: str) -> Network:
    """Read a network in CIDR notation, or an address, which is a network of one.

    One of v4-mapped v6 addresses becomes the v4 network.  Raises `ValueError` with a text that says what is wrong.
    """
    text = text.strip()
    address, slash, length = text.partition("/")
    if "%" in address:
        raise ValueError("has an interface name in it")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError("has no prefix length behind the slash")
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(_what_is_wrong(text)) from None
    if isinstance(network, IPv6Network) and network.prefixlen >= _V4_MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _V4_MAPPED_BITS))
    return network


def _what_is_wrong(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return "is not an IPv4 or IPv6 network in CIDR notation"
    return f"has host bits set; the network is {network}"


class Networks:
    """Networks by prefix length: a look-up is one step for each length that occurs (of at most 33, or 129)."""

    def __init__(self, networks: Iterable[tuple[Network, str]]) -> None:
        """Take networks, each with the text to name it by."""
        tables: dict[tuple[int, int], dict[int, str]] = {}
        for network, name in networks:
            shift = network.max_prefixlen - network.prefixlen
            tables.setdefault((network.max_prefixlen, shift), {})[int(network.network_address) >> shift] = name
        self._arrange(tables)

    def _arrange(self, tables: dict[tuple[int, int], dict[int, str]]) -> None:
        order = sorted(tables)
        self._tables = {
            bits: tuple((shift, tables[width, shift]) for width, shift in order if width == bits) for bits in (32, 128)
        }

    def __bool__(self) -> bool:
        return any(self._tables.values())

    def __len__(self) -> int:
        return sum(len(table) for tables in self._tables.values() for _, table in tables)

    def changed(self, added: Iterable[tuple[Network, str]], removed: Iterable[Network]) -> Networks:
        """Return these networks with some added and others removed; tables without a change are shared."""
        tables = {(bits, shift): table for bits, some in self._tables.items() for shift, table in some}
        copied: dict[tuple[int, int], dict[int, str]] = {}

        def table_of(network: Network) -> tuple[dict[int, str], int]:
            shift = network.max_prefixlen - network.prefixlen
            key = network.max_prefixlen, shift
            if key not in copied:
                copied[key] = tables[key] = dict(tables.get(key, {}))
            return copied[key], int(network.network_address) >> shift

        for network in removed:
            table, value = table_of(network)
            table.pop(value, None)
        for network, name in added:
            table, value = table_of(network)
            table[value] = name
        new = Networks(())
        new._arrange({key: table for key, table in tables.items() if table})
        return new

    def find(self, address: Address) -> str | None:
        """Return the name of the narrowest network that holds `address`."""
        value = address.value
        for shift, table in self._tables[address.bits]:
            name = table.get(value >> shift)
            if name is not None:
                return name
        return None
