#!/usr/bin/env bash
# One access from an empty folder to `ssh prod-host`, on loopback, with the real OpenSSH.
# usage: tests/demo.sh DIRECTORY-OF-BINARIES [--keep]
set -euo pipefail
bin=${1:?usage: tests/demo.sh DIRECTORY-OF-BINARIES [--keep]}
keep=${2:-}
export PATH="$bin:$PATH:/usr/sbin:/sbin"
# Nothing of the caller's own ssh set-up may play along, or be touched.
unset SSH_AUTH_SOCK JIT_SSH_HOME XDG_RUNTIME_DIR

# A short path: the sockets of ssh-agent may have at most 107 characters.
dir=$(mktemp -d "${TMPDIR:-/tmp}/jit-ssh-demo.XXXXXX")
me=$(id -un)
pids=()

finish() {
  local status=$?
  if [ "$keep" = --keep ] && [ "$status" -eq 0 ]; then return; fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  done
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

title() { printf '\n# %s\n' "$*"; }

# as NAME COMMAND...  prints a command as NAME types it, and runs it in NAME's surroundings.
as() {
  local who=$1
  shift
  printf '%s$' "$who"
  printf ' %q' "$@"
  printf '\n'
  env_of "$who" "$@"
}

env_of() {
  local who=$1
  shift
  case "$who" in
    alice | bob) JIT_SSH_HOME="$dir/$who" SSH_AUTH_SOCK="$dir/$who.agent" "$@" ;;
    *) "$@" ;;
  esac
}

# refused CODE NAME COMMAND...  the same for a command that must fail with this exit code.
refused() {
  local wanted=$1 status=0
  shift
  as "$@" || status=$?
  if [ "$status" -ne "$wanted" ]; then
    echo "demo: that should have been refused with exit code $wanted, and ended with $status"
    exit 1
  fi
  echo "(refused, as it must be: exit code $status)"
}

wait_for() {
  local tries=0
  until "$@" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ]; then
      echo "demo: waited too long for: $*"
      exit 1
    fi
    sleep 0.05
  done
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  while port=$((20000 + RANDOM % 40000)) && listening "$port"; do :; done
  echo "$port"
}

start_agent() { # NAME
  install -d -m 0700 "$dir/$1"
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$dir/$1/id"
  ssh-agent -D -a "$dir/$1.agent" >/dev/null 2>&1 &
  pids+=($!)
  wait_for test -S "$dir/$1.agent"
  SSH_AUTH_SOCK="$dir/$1.agent" ssh-add -q "$dir/$1/id" 2>/dev/null
}

start_sshd() { # NAME PORT
  local etc="$dir/$1" pam=no
  mkdir -p "$etc/sshd_config.d"
  ssh-keygen -q -t ed25519 -N '' -f "$etc/host_key"
  # Only PAM lets a locked account in by key; an ordinary user can not use PAM at all.
  if [ "$(id -u)" -eq 0 ] && grep -q '^root:!' /etc/shadow; then pam=yes; fi
  cat >"$etc/sshd_config" <<CONFIG
Include $etc/sshd_config.d/*.conf
ListenAddress 127.0.0.1:$2
HostKey $etc/host_key
PidFile $etc/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile none
UsePAM $pam
# This folder lies under one that others can write to; a real host keeps the default, yes.
StrictModes no
CONFIG
  "$(command -v sshd)" -D -f "$etc/sshd_config" -E "$etc/sshd.log" &
  pids+=($!)
  wait_for listening "$2"
}

ca_port=$(free_port) prod_port=$(free_port) other_port=$(free_port)
cd "$dir"

title "The administrator sets up the CA: keys, root of trust, a sample of the configuration"
ssh-keygen -q -t ed25519 -N '' -C admin -f "$dir/admin"
as admin jit-ssh-ca init --config ca-config --state state --listen "127.0.0.1:$ca_port" --admin admin.pub |
  tee init.out
url=$(tail -n 1 init.out)

title "Front and signer start: two processes, and only the signer holds the CA key"
echo 'admin$ jit-ssh-ca serve --config ca-config &'
jit-ssh-ca serve --config ca-config >serve.out 2>serve.log &
pids+=($!)
wait_for grep -q '^serving on' serve.out
cat serve.out

title "Who there is, which hosts there are, who may do what: signed by the administrator"
start_agent alice
start_agent bob
cat >ca-config/people.toml <<PEOPLE
[[person]]
id = "alice"
name = "Alice Doe"
keys = ["$(cat alice/id.pub)"]
groups = ["sre"]

[[person]]
id = "bob"
name = "Bob Roe"
keys = ["$(cat bob/id.pub)"]
groups = ["sre-leads"]
PEOPLE
cat >ca-config/hosts.toml <<HOSTS
[[host]]
name = "prod-host"
labels = { env = "prod" }
logins = ["$me"]

[[host]]
name = "other-host"
labels = { env = "prod" }
logins = ["$me"]
HOSTS
cat >ca-config/policy.toml <<POLICY
[[allow]]
name = "sre-prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["$me"]
max_for = "30m"
cert_for = "15s"          # so short only so that the demo need not wait
reason = { min = 10, pattern = "INC-[0-9]+", hint = "name the incident" }
approvals = [{ from = ["group:sre-leads"], count = 1 }]
permit = ["pty"]
POLICY
as admin cat ca-config/policy.toml
as admin jit-ssh-ca apply --config ca-config --identity admin --yes

title "Two stock sshd become prod-host and other-host; both trust the same CA"
start_sshd prod-host "$prod_port"
start_sshd other-host "$other_port"
as root jit-ssh-host setup --ca "$url" --name prod-host --etc "$dir/prod-host" --guard off --allow-lock-out
as root jit-ssh-host setup --ca "$url" --name other-host --etc "$dir/other-host" --guard off --allow-lock-out

title "Alice and Bob enrol once"
as alice jit-ssh enroll "$url" --as alice
as bob jit-ssh enroll "$url" --as bob
cat >ssh_config <<CONFIG
Host prod-host
  Port $prod_port
  HostKeyAlias prod-host
Host other-host
  Port $other_port
  HostKeyAlias other-host
Host *
  HostName 127.0.0.1
  User $me
  UserKnownHostsFile $dir/known_hosts
  IdentityFile none
  BatchMode yes
  LogLevel ERROR
CONFIG
for name in prod-host other-host; do
  echo "$name $(cut -d' ' -f1,2 "$name/host_key.pub")" >>known_hosts
done
ssh=(ssh -F ssh_config)

title "Alice wants in. She says why and for how long, and waits"
echo 'alice$ jit-ssh login prod-host --because "INC-42 disk full" --for 2m'
env_of alice jit-ssh login prod-host --because "INC-42 disk full" --for 2m >login.out 2>&1 &
login=$!
waiting() { env_of bob jit-ssh requests --to-decide --json | grep -q '"id"'; }
wait_for waiting
sed 's/^/    /' login.out

title "Bob sees it, and approves"
as bob jit-ssh requests --to-decide
id=$(env_of bob jit-ssh requests --to-decide --json | sed -n 's/.*"id":"\([0-9a-z]*\)".*/\1/p')
as bob jit-ssh approve "$id" --yes

title "Alice's command has finished; the certificate is in her ssh-agent"
wait "$login"
issued=$(date +%s)
sed 's/^/    /' login.out
as alice jit-ssh status
as alice "${ssh[@]}" prod-host uname -n -s

title "The same certificate on other-host, which trusts the same CA: refused by its sshd"
refused 255 alice "${ssh[@]}" other-host true
grep 'does not contain\|not listed\|principal' other-host/sshd.log | tail -n 1 | sed 's/^/    sshd: /' || true

title "Alice asks again, and tries to approve it herself: refused"
own=$(env_of alice jit-ssh login other-host --because "INC-43 another one" --for 2m --no-wait --json || true)
own=$(printf '%s\n' "$own" | sed -n 's/.*"id":"\([0-9a-z]*\)".*/\1/p' | head -n 1)
refused 6 alice jit-ssh approve "$own" --yes
as alice jit-ssh cancel "$own" --yes

title "When the certificate has ended, a new login is refused"
while [ "$(date +%s)" -le $((issued + 16)) ]; do sleep 0.2; done
refused 255 alice "${ssh[@]}" prod-host true

title "The log says all of it, and anybody who holds a copy can check it offline"
as auditor jit-ssh-ca log show --config ca-config
as auditor jit-ssh-ca log verify --config ca-config

if [ "$keep" = --keep ]; then
  cat <<TEXT

# It is still running, in $dir. Try, for example:
cd $dir
export PATH="$bin:\$PATH"
JIT_SSH_HOME=alice SSH_AUTH_SOCK=$dir/alice.agent jit-ssh login prod-host --because "INC-44 look again" --for 5m
JIT_SSH_HOME=bob SSH_AUTH_SOCK=$dir/bob.agent jit-ssh approve ID
SSH_AUTH_SOCK=$dir/alice.agent ssh -F ssh_config prod-host
# To end it:
kill ${pids[*]} && rm -rf $dir
TEXT
fi
echo
echo "demo: ok"
