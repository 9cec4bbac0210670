"""Installs Autobahn|Testsuite and what it needs, and translates it from Python 2.

install.py DIRECTORY    installs into DIRECTORY/site, unless it is there already
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

TRANSLATED = ["__init__.py", "case", "caseset.py", "fuzzing.py", "report.py"]

# what 2to3 leaves to do: files, what is in them, and what has to be there instead
EDITS = [
    # a string is bytes, and `fuzz.py` takes each character for one
    ("case/case6_*.py", r"^# coding=utf-8", "# coding=latin-1"),
    ("case/case*_[xX]*.py", r"\(object, Case, \)", "(Case, )"),
    ("case/case10_1_1.py", r"(len\(self\.payload\)) / ", r"\1 // "),
    # a case that is in none of the lists, and uses what zope.interface no longer has
    ("case/__init__.py", r"^from \.case9_9_1 import \*", ""),
    # other programs of the suite
    ("__init__.py", r"^from \. import .*", ""),
]


def main(directory):
    site, stamp = directory / "site", directory / "installed"
    recipe = sys.version + Path(__file__).read_text() + (HERE / "requirements.txt").read_text()
    if stamp.exists() and stamp.read_text() == recipe:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    download(site)
    suite = site / "autobahntestsuite"
    translate(site, [suite / name for name in TRANSLATED])
    for files, pattern, replacement in EDITS:
        edit(suite.glob(files), pattern, replacement)
    stamp.write_text(recipe)


def download(site):
    pinned = HERE / "requirements.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore"]
    run(
        [*pip, "--no-compile", "--no-deps", "--target", site, "--requirement", pinned],
        PIP_CONSTRAINT=pinned,  # for what builds the packages, too
    )


def translate(site, files):
    options = ["--write", "--nobackups", "--no-diffs"]
    run([sys.executable, "-m", "fissix", *options, *files], PYTHONPATH=site)


def run(command, **environment):
    environment = {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{command}:\n{done.stdout.decode()}")


def edit(files, pattern, replacement):
    count = 0
    for file in files:
        # as bytes are, whatever they mean, and with the ends of lines that they have
        text = file.read_bytes().decode("latin-1")
        text, times = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        file.write_bytes(text.encode("latin-1"))
        count += times
    if not count:
        sys.exit(f"{pattern} is nowhere to be found")


main(Path(sys.argv[1]))
