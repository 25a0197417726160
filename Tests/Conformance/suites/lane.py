"""One lane of the third-party suites: everything natively, or everything under the shim.

    lane.py SPEC     SPEC: a JSON file {"suite": …, "shim": bool, …}

A result per line goes to standard output; the last one, of the suite "left", says what was not cleaned up.

Runs inside a network namespace of its own (world.in_own_network).
"""

import importlib
import json
import os
import pathlib
import shutil
import signal
import sys

from world import World, prepare_network


def main():
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    suite = importlib.import_module(spec["suite"])
    # However it ends, what it started ends first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    prepare_network()
    with World(spec["shim"]) as world:
        for result in suite.run(world, spec["shim"], spec):
            print(json.dumps(result), flush=True)
        print(json.dumps({"suite": "left", "streams": world.left()}), flush=True)
        # For a closer look: the daemons' and the suites' own words.
        if keep := os.environ.get("KEEP_LOGS"):
            shutil.copytree(world.logs, pathlib.Path(keep) / spec["name"], dirs_exist_ok=True)


if __name__ == "__main__":
    main()
