"""Makes .venv from requirements.lock: what `make run` and `make test` do first, in any Python 3."""

import os
import shutil
import subprocess
import sys
import time

VENV = ".venv"
STAMP = os.path.join(VENV, "installed")
SOURCES = ("requirements.lock", "pyproject.toml")


def main():
    """Install unless another process has just done so; exit with one line when Python does not fit."""
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        found = sys.version.split()[0]
        sys.exit("error: Trunkline needs Python 3.11 or 3.12, this is " + found + "; try: make PYTHON=python3.11")
    import fcntl

    with open(".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not fresh():
            install()


def fresh():
    """Whether the last complete installation is newer than what it was made from."""
    return os.path.exists(STAMP) and all(os.path.getmtime(STAMP) >= os.path.getmtime(name) for name in SOURCES)


def install():
    """Make the environment anew; the stamp is written last, so a killed installation starts again."""
    print("installing into " + VENV + " (a few minutes, once)", file=sys.stderr, flush=True)
    # The Python that runs this may be the old environment's own, which goes with it.
    python = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.call([python, "-m", "venv", VENV]) != 0:
        sys.exit("error: " + python + " cannot make a virtual environment; see above (Debian: install python3-venv)")
    own = os.path.join(VENV, "bin", "python")
    pip = [own, "-m", "pip", "-qq", "--disable-pip-version-check", "--timeout", "60"]
    pip += ["install", "--no-user", "--no-compile"]
    locked = fetched([*pip, "--requirement", "requirements.lock"])
    if not locked or subprocess.call([*pip, "--no-deps", "--no-build-isolation", "--editable", "."]) != 0:
        sys.exit("error: pip could not install requirements.lock; see above, and check the package index")
    # On all cores, which pip does not use; what does not compile is nothing that is imported.
    subprocess.call([own, "-m", "compileall", "-qq", "-j", "0", os.path.join(VENV, "lib")])
    with open(STAMP, "w"):
        pass


def fetched(command):
    """Whether a command succeeded, the third time at the latest: pip begins no broken download again."""
    for pause in (5, 20, None):
        if subprocess.call(command) == 0:
            return True
        if pause is not None:
            time.sleep(pause)
    return False


if __name__ == "__main__":
    main()
