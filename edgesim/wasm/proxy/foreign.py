"""What edgesim does not have: foreign functions and gRPC. The imports exist, so that SDKs link, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.spec import Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

GRPC: Final = frozenset(
    {"proxy_grpc_call", "proxy_grpc_stream", "proxy_grpc_send", "proxy_grpc_cancel", "proxy_grpc_close"}
)
"""Their parameters differ between versions of the ABI, so they are linked with whatever type the module imports."""


@host("proxy_call_foreign_function", "iiiiii")
def call_foreign_function(
    vm: Vm, name: int, name_size: int, arguments: int, size: int, _data_out: int, _size_out: int
) -> Status:
    """There are none."""
    vm.check(name, name_size)
    vm.check(arguments, size)
    return Status.NOT_FOUND


def grpc(_vm: Vm, *_args: int) -> Status:
    """There is no gRPC."""
    return Status.UNIMPLEMENTED
