"""Takes the arguments of `onsight ask` that scripts/try_installed.sh gives, and asks through the package that scripts/wheel.sh put into /package."""

import argparse
import json
import sys

sys.path.insert(0, "/package")
import onsight

parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["ask"])
parser.add_argument("--image")
parser.add_argument("--video")
parser.add_argument("--max-frames", type=int)
parser.add_argument("--json", action="store_true")
parser.add_argument("-n", type=int, default=1024)
parser.add_argument("prompt")
asked = parser.parse_args()
answer = onsight.load().ask(asked.image, asked.prompt, video=asked.video, max_tokens=asked.n, **({"max_frames": asked.max_frames} if asked.max_frames else {}))
print(json.dumps({"completion_tokens": answer.completion_tokens, "text": answer}, separators=(",", ":")) if asked.json else answer)
