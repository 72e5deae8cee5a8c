"""The edge without I/O: flows over the World protocol and the components they decide with."""
