#!/bin/sh
# Runs a command on a host with access that is requested for it, waited for, and given back.
# usage: with-access.sh HOST LOGIN TIME REASON COMMAND...
# Needs jq. SSH may name another ssh, with its options.
set -eu
host=$1 login=$2 time=$3 reason=$4
shift 4

status=0
answer=$(jit-ssh login "$host" --as "$login" --for "$time" --because "$reason" --no-wait --json) ||
  status=$?
id=$(printf '%s\n' "$answer" | jq -rs 'map(.id // empty) | last // empty')
case $status in
  0) ;;
  3)
    echo "waiting for request $id" >&2
    # Ends with 0 when the certificate is loaded, 4 when denied, 5 when it lapsed.
    jit-ssh watch "$id" --json >/dev/null
    ;;
  *)
    printf '%s\n' "$answer" | jq -rs 'last | .error // empty' >&2
    exit "$status"
    ;;
esac
trap 'jit-ssh release "$id" --yes --json >/dev/null' EXIT
${SSH:-ssh} "$login@$host" "$@"
