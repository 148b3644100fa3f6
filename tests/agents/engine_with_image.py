#!/usr/bin/env python3
"""A container engine with the image of the generic harness, for tests in other languages:  engine_with_image.py docker|podman

Prints {"socket": …} when it is ready, or {"missing": why} where it cannot run, and ends everything when its input is closed.
"""
import json
import signal
import sys

import engines
import test_life


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with engines.start(sys.argv[1], image=False) as running:
            running.import_image(test_life.with_guest(engines.base_tar()), test_life.image_tag(running))
            print(json.dumps({"socket": str(running.socket)}), flush=True)
            sys.stdin.read()
    except engines.Missing as why:
        print(json.dumps({"missing": str(why)}), flush=True)


if __name__ == "__main__":
    main()
