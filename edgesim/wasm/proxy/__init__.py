"""Proxy-Wasm: HTTP filters in front of workers and origin, as guests of ABI 0.2.1 (and 0.2.0, 0.1.0 where compatible).

`vm.py` is one instance, `plugin.py` one filter on one PoP, `run.py` one request in one filter, `table.py` the list of host
functions, and each family of host functions is a file of its own. Everything here runs without fibers: a filter never waits
inside a host call, it pauses its stream and the host waits outside.

Source: "Proxy-Wasm ABI v0.2.1 specification", github.com/proxy-wasm/spec, abi-versions/v0.2.1.
"""
