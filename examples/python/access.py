#!/usr/bin/env python3
"""Asks a jit-ssh CA for access to a host, waits, takes the certificate, and runs ssh.

    pip install grpcio grpcio-tools
    access.py 'https://ca.example:7443#SHA256:...' deploy-bot ~/.ssh/id_ed25519 deploy@prod-host \
              'INC-42 restart the queue' -- ssh -p 22 deploy@10.0.0.5 uptime

After `--` stands the command to run once access is there; it is given the key by `-i`. Nothing here is
of jit-ssh but the .proto files: statements are JSON, signatures are made by ssh-keygen, which takes the
private key from its file, or from ssh-agent where only FILE.pub is there.
"""

import base64, hashlib, json, os, secrets, ssl, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto"))  # where the .proto files lie
access, access_calls = grpc.protos_and_services("jitssh/v1/access.proto")
trust, trust_calls = grpc.protos_and_services("jitssh/v1/trust.proto")
common = grpc.protos("jitssh/v1/common.proto")

WAITING, READY = ("STATUS_PENDING",), ("STATUS_APPROVED", "STATUS_ACTIVE")


def connect(url):
    """A channel to the CA that the pin names, and the pin."""
    address, pin = url.removeprefix("https://").rstrip("/").split("#")
    # Nothing is believed of this answer but what the pin confirms.
    unverified = ssl._create_unverified_context()
    root = urllib.request.urlopen(f"https://{address}/root.json", context=unverified, timeout=30).read()
    found = "SHA256:" + base64.b64encode(hashlib.sha256(root).digest()).decode().rstrip("=")
    if found != pin:
        sys.exit(f"the CA's root has the fingerprint {found}, not {pin}")
    anchor = json.loads(root)["tls_anchor"].encode()
    # A connection that is silently gone is found out within half a minute.
    alive = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(anchor), alive), pin


def statement(kind, pin, key, fields):
    """A signed statement: canonical JSON, signed by ssh-keygen. The order of the fields counts."""
    body = {"v": 1, "type": kind, "ca": pin, **fields, "at": int(time.time()), "nonce": secrets.token_hex(16)}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    sign = ["ssh-keygen", "-Y", "sign", "-n", f"{kind}@jit-ssh", "-f", key]
    armour = subprocess.run(sign, input=text, stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = [line for line in armour.splitlines() if not line.startswith("-----")]
    return common.SignedStatement(statement=text, signatures=[base64.b64decode("".join(lines))])


def main(url, me, identity, target, reason, command):
    channel, pin = connect(url)
    login, host = target.split("@")
    calls = access_calls.AccessStub(channel)
    with tempfile.TemporaryDirectory() as folder:
        # A fresh key for this access alone.
        key = f"{folder}/key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
        request = statement("request", pin, identity, {
            "by": me, "subject": me, "key": public, "hosts": [host], "logins": [login], "for": 600,
            "not_before": None, "reason": reason, "break_glass": None, "extends": None,
            "permit": ["pty"], "source": [], "command": None})
        answer = calls.Submit(access.SubmitRequest(request=request, certify=True), timeout=30)
        digest, certificate = answer.digest, answer.certificate
        if not certificate.certificate:
            print(f"waiting for {', '.join(answer.approvers)}", file=sys.stderr)
            session = statement("session", pin, identity, {"by": me, "for": 3600})
            session = trust_calls.TrustStub(channel).OpenSession(
                trust.OpenSessionRequest(session=session), timeout=30)
            token = [("authorization", f"Bearer {session.token}")]
            for change in calls.Watch(access.WatchRequest(id=digest), metadata=token):
                status = common.Status.Name(change.access.status)
                if status not in WAITING:
                    break
            if status not in READY:
                sys.exit(f"no access: {change.access.detail}")
            certificate = calls.Certify(access.CertifyRequest(digest=digest), timeout=30).certificate
        kind = certificate.certificate[4:4 + int.from_bytes(certificate.certificate[:4], "big")].decode()
        line = f"{kind} {base64.b64encode(certificate.certificate).decode()}\n"
        Path(f"{key}-cert.pub").write_text(line)  # ssh finds it beside the key
        return subprocess.run([command[0], "-i", key, *command[1:]]).returncode


def start(main, doc):
    """Runs `main` with the five arguments before `--` and the command after it."""
    if "--" not in sys.argv or sys.argv.index("--") != 6 or len(sys.argv) < 8:
        sys.exit(doc)
    try:
        sys.exit(main(*sys.argv[1:6], sys.argv[7:]))
    except grpc.RpcError as error:
        sys.exit(f"the CA refuses: {error.details()}")


if __name__ == "__main__":
    start(main, __doc__)
