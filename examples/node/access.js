#!/usr/bin/env node
// Asks a jit-ssh CA for access to a host, waits, takes the certificate, and runs ssh.
//
//   npm install
//   node access.js 'https://ca.example:7443#SHA256:...' deploy-bot ~/.ssh/id_ed25519 deploy@prod-host \
//        'INC-42 restart the queue' -- ssh -p 22 deploy@10.0.0.5 uptime
//
// After `--` stands the command to run once access is there; it is given the key by `-i`. Nothing here is
// of jit-ssh but the .proto files: statements are JSON, signatures are made by ssh-keygen, which takes the
// private key from its file, or from ssh-agent where only FILE.pub is there.

import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const protos = fileURLToPath(new URL("../../proto", import.meta.url)); // where the .proto files lie
const options = { keepCase: true, longs: String, enums: String, defaults: true, includeDirs: [protos] };
const files = ["jitssh/v1/access.proto", "jitssh/v1/trust.proto"];
const { Access, Trust } = grpc.loadPackageDefinition(loader.loadSync(files, options)).jitssh.v1;

const WAITING = ["STATUS_PENDING"], READY = ["STATUS_APPROVED", "STATUS_ACTIVE"];
const fail = (why) => { console.error(why); process.exit(1); };
const call = (stub, name, message) =>
  promisify(stub[name].bind(stub))(message, { deadline: Date.now() + 30_000 });

/** The address of the CA that the pin names, the pin, and credentials that trust that CA alone. */
async function connect(url) {
  const [address, pin] = url.replace(/^https:\/\//, "").split("#");
  const root = await new Promise((resolve, reject) => {
    // Nothing is believed of this answer but what the pin confirms.
    const request = https.get(`https://${address}/root.json`, { rejectUnauthorized: false }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part)).on("end", () => resolve(Buffer.concat(parts)));
    });
    request.on("error", reject);
  });
  const found = "SHA256:" + createHash("sha256").update(root).digest("base64").replace(/=+$/, "");
  if (found !== pin) fail(`the CA's root has the fingerprint ${found}, not ${pin}`);
  const anchor = Buffer.from(JSON.parse(root).tls_anchor);
  return { address: address.replace(/\/$/, ""), pin, trusting: grpc.credentials.createSsl(anchor) };
}

/** A signed statement: canonical JSON, signed by ssh-keygen. The order of the fields counts. */
function statement(kind, ca, key, fields) {
  const at = Math.floor(Date.now() / 1000), nonce = randomBytes(16).toString("hex");
  const text = JSON.stringify({ v: 1, type: kind, ca, ...fields, at, nonce });
  const sign = ["-Y", "sign", "-n", `${kind}@jit-ssh`, "-f", key];
  const made = spawnSync("ssh-keygen", sign, { input: text, stdio: ["pipe", "pipe", "inherit"] });
  if (made.status !== 0) fail(`ssh-keygen does not sign with ${key}`);
  const lines = made.stdout.toString().split("\n").filter((line) => !line.startsWith("-----"));
  return { statement: Buffer.from(text), signatures: [Buffer.from(lines.join(""), "base64")] };
}

async function main(url, me, identity, target, reason, command) {
  const { address, pin, trusting } = await connect(url);
  const [login, host] = target.split("@");
  const access = new Access(address, trusting), trust = new Trust(address, trusting);
  const folder = mkdtempSync(join(tmpdir(), "access-"));
  try {
    // A fresh key for this access alone.
    const key = join(folder, "key");
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const subject = readFileSync(`${key}.pub`, "utf8").split(" ").slice(0, 2).join(" ").trim();
    const request = statement("request", pin, identity, {
      by: me, subject: me, key: subject, hosts: [host], logins: [login], for: 600, not_before: null,
      reason, break_glass: null, extends: null, permit: ["pty"], source: [], command: null,
    });
    let { digest, certificate, approvers } = await call(access, "Submit", { request, certify: true });
    if (!certificate) {
      console.error(`waiting for ${approvers.join(", ")}`);
      const session = statement("session", pin, identity, { by: me, for: 3600 });
      const { token } = await call(trust, "OpenSession", { session });
      const metadata = new grpc.Metadata();
      metadata.set("authorization", `Bearer ${token}`);
      let state;
      const changes = access.Watch({ id: digest }, metadata);
      changes.on("error", () => {}); // cancelled below; what else goes wrong ends the loop, too
      for await (const change of changes) {
        state = change.access;
        if (!WAITING.includes(state.status)) break;
      }
      changes.cancel();
      if (!READY.includes(state.status)) throw new Error(`no access: ${state.detail}`);
      ({ certificate } = await call(access, "Certify", { digest }));
    }
    const blob = certificate.certificate;
    const kind = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString();
    writeFileSync(`${key}-cert.pub`, `${kind} ${blob.toString("base64")}\n`); // ssh finds it beside the key
    const [program, ...rest] = command;
    return spawnSync(program, ["-i", key, ...rest], { stdio: "inherit" }).status;
  } finally {
    rmSync(folder, { recursive: true });
    access.close();
    trust.close();
  }
}

const args = process.argv.slice(2);
if (args[5] !== "--" || args.length < 7) fail("usage: access.js URL ME KEY LOGIN@HOST REASON -- COMMAND...");
try {
  process.exitCode = await main(...args.slice(0, 5), args.slice(6));
} catch (error) {
  fail(error.details ? `the CA refuses: ${error.details}` : error.message);
}
