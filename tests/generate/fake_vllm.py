"""Stands in for vLLM's process: `python fake_vllm.py SOCKET SETTINGS`, behaving as FAKE_VLLM says.

Writes what it is told to its log (stdout). Answers each prompt with its own last two tokens, two prompts at a time.
"""

import json
import os
import signal
import socket
import sys
import time


def main() -> None:
    how, _, number = os.environ.get("FAKE_VLLM", "").partition(":")
    print("settings", sys.argv[2], flush=True)
    if how == "die":
        print("no such architecture", flush=True)
        sys.exit(3)
    if how == "hang":
        time.sleep(600)
    with socket.socket(fileno=int(sys.argv[1])) as ours, ours.makefile("rw") as channel:
        print("{}", file=channel, flush=True)
        for line in channel:
            requests = json.loads(line)
            for request in requests:
                print("request", json.dumps(request), flush=True)
            for first in range(0, len(requests), 2):
                if how == "killed" and first == int(number):
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "slow":
                    time.sleep(600)
                finish = "abort" if how == "abort" and not first else "stop"
                done = [[n, requests[n]["ids"][-2:], finish] for n in range(first, min(first + 2, len(requests)))]
                print(json.dumps(done), file=channel, flush=True)


if __name__ == "__main__":
    main()
