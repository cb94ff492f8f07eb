#!/usr/bin/env python3
"""Runs a command for as long as somebody has access, and not a moment longer: what a proxy that ends SSH
itself does for each of its sessions.

    gate.py 'https://ca.example:7443#SHA256:...' proxy-1 ~/.ssh/proxy_key alice deploy@prod-host -- COMMAND...

`proxy-1` is a [[machine]] of people.toml. Exit code 77 if there is no access; 78 if it ended while the
command ran, or if the CA could not be reached for `GRACE` seconds, so that its end could not be heard of.
"""

import subprocess, sys, threading, time

import grpc

from access import access, access_calls, connect, start, statement, trust, trust_calls

NO_ACCESS, ENDED = 77, 78
GRACE = 60  # seconds


def answers(url, me, identity, question):
    """What the CA says, each time it says something else; None while it can not be reached."""
    channel, pin = connect(url)
    while True:
        try:
            session = statement("session", pin, identity, {"by": me, "for": 3600})
            session = trust_calls.TrustStub(channel).OpenSession(
                trust.OpenSessionRequest(session=session), timeout=10)
            watch = access.WatchRequest(check=question)
            token = [("authorization", f"Bearer {session.token}")]
            # A session ends; so does this watch before it, and is opened anew.
            for news in access_calls.AccessStub(channel).Watch(watch, metadata=token, timeout=1800):
                yield news.check
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                yield None
                time.sleep(1)


def main(url, me, identity, subject, target, command):
    login, host = target.split("@")
    news = answers(url, me, identity, access.CheckRequest(subject=subject, login=login, host=host))
    said = next(news)
    if said is None or not said.allowed:
        return NO_ACCESS
    print(f"{subject} is {target} by {said.id} until {time.ctime(said.access_until)}", file=sys.stderr)
    heard = time.time()
    over = threading.Event()

    def listen():
        nonlocal said, heard
        for answer in news:
            if answer is not None:
                said, heard = answer, time.time()
                if not said.allowed:
                    over.set()
            elif time.time() > min(heard + GRACE, said.access_until):
                over.set()  # silent for too long

    running = subprocess.Popen(command)
    threading.Thread(target=listen, daemon=True).start()
    while running.poll() is None:
        # Its end holds, heard of or not.
        if over.wait(timeout=0.2) or time.time() >= said.access_until:
            print(f"the access of {subject} is over", file=sys.stderr)
            running.terminate()
            running.wait()
            return ENDED
    return running.returncode


if __name__ == "__main__":
    start(main, __doc__)
