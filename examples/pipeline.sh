#!/bin/sh
# A deploy job: asks as a machine for one command on a host, waits for whoever has to say yes, runs it, and gives the
# access back. Ends as the command does; else as jit-ssh: 4 denied, 5 lapsed, 6 no rule allows it.
# usage: pipeline.sh HOST LOGIN COMMAND REASON
# CA_URL: the enroll URL. MACHINE: the machine's id. MACHINE_KEY: a file with its key, mode 0600. Needs jq.
set -eu
host=$1 login=$2 command=$3 reason=$4

# Nothing of it outlives the job.
JIT_SSH_HOME=$(mktemp -d)
export JIT_SSH_HOME
id=
finish() {
  [ -z "$id" ] || jit-ssh release "$id" --yes --json >/dev/null || true
  rm -rf "$JIT_SSH_HOME"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

jit-ssh enroll "$CA_URL" --as "$MACHINE" --identity "$MACHINE_KEY" --json >/dev/null
status=0
answer=$(jit-ssh login "$host" --machine "$MACHINE" --as "$login" --command "$command" \
  --for 10m --because "$reason" --json) || status=$?
if [ "$status" -ne 0 ]; then
  printf '%s\n' "$answer" | jq -rs 'last | .error // empty' >&2
  exit "$status"
fi
id=$(printf '%s\n' "$answer" | jq -rs 'last | .id')
# No command is named here: the certificate is for that one, and the host runs it whatever is asked.
jit-ssh ssh "$host" --as "$login"
