"""vipctl's numbers of the protocol are those of kernel/uapi/vip_shim.h, as gcc reads it."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vipctl.linux import shim
from vipctl.linux.shim import messages
from vipctl.services.methods import METHODS

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
FLAGS = ("DROP", "PING", "IDLE4", "IDLE6", "PASSIVE")
NUMBERS = (
    *(f"CMD_{name}" for name in (*messages.COMMANDS, "MAX")),
    *(f"A_{name}" for name in (*(name for name, _ in messages.ATTRIBUTES), "MAX")),
    *(f"F_{name}" for name in (*FLAGS, "ALL")),
    "ROLE_ACTIVE",
    "ROLE_PASSIVE",
    "VERSION",
    "MAX_PORTS",
)
PORT, LENGTHS = 0x1234, {4: 24, 6: 65}
ADDRESSES = {4: bytes(range(1, 5)), 6: bytes(range(1, 17))}

# Prints JSON: the numbers, and the bytes of each struct, filled by its members' names.
PROGRAM = """
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include "uapi/vip_shim.h"

#define NUMBER(name) printf("\\"" #name "\\": %lld, ", (long long)VIP_SHIM_##name)

static void print_bytes(const char *name, const void *data, size_t size)
{
	printf("\\"%s\\": \\"", name);
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)data)[i]);
	printf("\\", ");
}

int main(void)
{
	const unsigned char address[] = { ADDRESS };
	struct vip_shim_port port = { htons(PORT), IPPROTO_UDP, 0 };
	struct vip_shim_prefix4 four = { .length = LENGTH4 };
	struct vip_shim_prefix6 six = { .length = LENGTH6 };

	memcpy(&four.address, address, sizeof(four.address));
	memcpy(six.address, address, sizeof(six.address));
	printf("{");
	NUMBERS
	print_bytes("port", &port, sizeof(port));
	print_bytes("prefix4", &four, sizeof(four));
	print_bytes("prefix6", &six, sizeof(six));
	printf("\\"NAME\\": \\"%s\\"}", VIP_SHIM_NAME);
	return 0;
}
"""


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the header says; a name that it does not have does not compile."""
    program = tmp_path_factory.mktemp("header") / "values"
    definitions = (
        f"-DNUMBERS={' '.join(f'NUMBER({name});' for name in NUMBERS)}",
        f"-DADDRESS={','.join(map(str, ADDRESSES[6]))}",
        f"-DPORT={PORT}",
        *(f"-DLENGTH{version}={length}" for version, length in LENGTHS.items()),
    )
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", f"-I{KERNEL}", *definitions, "-xc", "-"]
    subprocess.run([*argv, "-o", str(program)], check=True, text=True, input=PROGRAM)
    told: dict[str, Any] = json.loads(subprocess.check_output([program]))
    return told


def test_name_and_version(header: dict[str, Any]) -> None:
    assert (header["NAME"], header["VERSION"]) == (messages.NAME, messages.VERSION)


def test_commands(header: dict[str, Any]) -> None:
    assert [header[f"CMD_{name}"] for name in messages.COMMANDS] == list(
        range(len(messages.COMMANDS))
    )
    assert header["CMD_MAX"] == len(messages.COMMANDS) - 1


def test_attributes(header: dict[str, Any]) -> None:
    """pyroute2 numbers them by their order."""
    numbers = [header[f"A_{name}"] for name, _ in messages.ATTRIBUTES]
    assert numbers == list(range(len(messages.ATTRIBUTES)))
    assert header["A_MAX"] == len(messages.ATTRIBUTES) - 1


def test_flags(header: dict[str, Any]) -> None:
    assert [header[f"F_{name}"] for name in FLAGS] == [getattr(shim, name) for name in FLAGS]
    assert header["F_ALL"] == sum(getattr(shim, name) for name in FLAGS)


def test_roles(header: dict[str, Any]) -> None:
    """`passive` as a number."""
    assert (header["ROLE_ACTIVE"], header["ROLE_PASSIVE"]) == (int(False), int(True))


def test_a_port(header: dict[str, Any]) -> None:
    assert messages.PORT.pack(PORT, socket.IPPROTO_UDP).hex() == header["port"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_prefix(header: dict[str, Any], version: int) -> None:
    packed = messages.PREFIX[version].pack(ADDRESSES[version], LENGTHS[version])
    assert packed.hex() == header[f"prefix{version}"]


def test_so_many_ports_it_takes(header: dict[str, Any]) -> None:
    assert header["MAX_PORTS"] == METHODS["shim"].most_ports
