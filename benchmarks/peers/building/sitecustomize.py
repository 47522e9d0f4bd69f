"""On the path only while a peer is built (programs.py), for PufferLib: without its games, its setup.py asks for a name
that it never gave; and it takes any CUDA compiler for a sign that PyTorch has CUDA.
"""

from __future__ import annotations

import builtins
import shutil

which = shutil.which
builtins.c_extension_paths = []
shutil.which = lambda command, *rest, **more: None if command == "nvcc" else which(command, *rest, **more)
