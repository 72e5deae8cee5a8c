"""The simulator against theory: claims whose answer is known, each measured on the kernel, pool and flow that edgesim uses.

One module per family of claims; `suite.py` puts them together, `verdict.py` judges. Nothing here prints or reads files.
"""
