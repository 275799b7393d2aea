"""Lays out the kustomizations that are written in a page, each in a folder of its own: examples.py PAGE FOLDER. Prints their names."""

import pathlib
import re
import sys

page, folder = map(pathlib.Path, sys.argv[1:3])
blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
kustomizations = [block for block in blocks if "kind: Kustomization" in block]
if not kustomizations:
    sys.exit(f"examples: {page} has no kustomization")
for number, text in enumerate(kustomizations, 1):
    name = f"example-{number}"
    (folder / name).mkdir()
    (folder / name / "kustomization.yaml").write_text(text, encoding="utf-8")
    print(name)
