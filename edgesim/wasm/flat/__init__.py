"""Flat components: a component's core modules, merged into one, under our own canonical ABI on linear memory.

A component that wit-bindgen's tools make is core modules, wiring, and functions that the canonical ABI lifts and lowers. The
engine validates it as a component; here it is taken apart (`wiring.py`), its core modules become one (`merge.py`), and its
values cross the boundary without the component C API (`canon.py`, `link.py`). What this floor cannot do raises `Unsupported`
at deploy, and `edgesim/wasm/component.py` serves the worker instead.
"""


class Unsupported(Exception):  # noqa: N818 - no error: the other floor takes over
    """The component uses something that this floor does not do; the text says what."""
