#!/usr/bin/env bash
# A host from a new machine to `setup --remove`, on a real systemd and logind: Debian's SUITE with its stock
# OpenSSH, PAM and sshd_config, booted in systemd-nspawn with a loopback of its own.
# usage: tests/rehearse.sh DIRECTORY-OF-BINARIES [SUITE]
#
# What happens inside is tests/rehearse-inside.sh. Downloaded packages stay in /var/cache/jit-ssh-rehearse.
# JIT_SSH_REHEARSE_ROOT=DIR takes a copy of a root that is there already instead of making one.
# The binaries were built here: the machine must not have an older C library than this one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${1:?usage: tests/rehearse.sh DIRECTORY-OF-BINARIES [SUITE]}
suite=${2:-bookworm}
cache=/var/cache/jit-ssh-rehearse
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,openssh-server,openssh-client,procps

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

[[ $suite =~ ^[a-z]+$ ]] || fail "$suite is not the name of a suite, like bookworm, trixie or sid."
[ "$(id -u)" -eq 0 ] || fail "only root can boot a machine."

dir=$(mktemp -d /var/tmp/jit-ssh-rehearse.XXXXXX)
machine=$(basename "$dir" | tr -c 'a-zA-Z0-9\n' -)
root=$dir/root
nspawn=

# The machine's own pid 1, as it is numbered here.
leader() { tr -d ' ' <"/proc/$nspawn/task/$nspawn/children" 2>/dev/null; }

# inside COMMAND...  runs a command in the machine.
inside() {
  local pid
  pid=$(leader)
  [ -n "$pid" ] || return 1
  nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup --root --wd=/root -- \
    /usr/bin/env -i HOME=/root USER=root TERM=dumb LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

finish() {
  local pid
  # Nor may a second Ctrl-C reach what cleans up.
  trap '' INT TERM
  if [ -n "$nspawn" ] && kill -0 "$nspawn" 2>/dev/null; then
    pid=$(leader)
    # With its pid 1 everything in the machine goes.
    if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    wait "$nspawn" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$dir"
  # What systemd-nspawn leaves where /run is no file system of its own.
  rmdir "/run/systemd/nspawn/propagate/$machine" 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT TERM

# The mirror that this machine itself uses for Debian's packages, if it is a Debian.
mirror() {
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    awk '{ print $2 }' | grep -v -e security -e debug | sort -u | head -n 1 || true
}

make_root() {
  if [ -n "${JIT_SSH_REHEARSE_ROOT:-}" ]; then
    cp -a "$JIT_SSH_REHEARSE_ROOT" "$root"
    return
  fi
  local from script=/usr/share/debootstrap/scripts/$suite
  from=$(mirror)
  [ -n "$from" ] || fail "apt names no mirror of Debian's packages here: run this on Debian."
  # An older debootstrap does not know the newest suites by name; they are made as sid is.
  [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
  install -d "$cache"
  echo "making a machine of Debian $suite (about a minute) ..." >&2
  debootstrap --variant=minbase --cache-dir="$cache" --include="$packages" \
    "$suite" "$root" "$from" "$script" >"$dir/debootstrap.log" 2>&1 || {
    tail -n 20 "$dir/debootstrap.log" >&2
    fail "Debian $suite could not be made."
  }
}

boot() {
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot --directory="$root" \
    --machine="$machine" --hostname=rehearsal --private-network --register=no --keep-unit \
    --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
    </dev/null >"$dir/console" 2>&1 &
  nspawn=$!
}

# wait_for COMMAND...  waits for five minutes at most, since systemd gives a service that does not stop 90
# seconds or two minutes, and a user's own systemd sometimes takes them in a container; then says what the machine was about.
wait_for() {
  local tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 1500 ]; then
      cat "$dir/console" >&2
      inside systemctl list-jobs --no-pager >&2 || true
      inside ps axo pid,ppid,stat,cgroup,args >&2 || true
      fail "waited too long for the machine ($*)."
    fi
    sleep 0.2
  done
}

is_up() { inside systemctl is-active --quiet ssh.service multi-user.target; }

is_down() { ! kill -0 "$nspawn"; }

play() { # PHASE
  inside /usr/local/lib/rehearse "$1" || echo "FAILED the phase '$1' was broken off" >>"$root/root/results"
}

make_root
for program in jit-ssh jit-ssh-ca jit-ssh-signer jit-ssh-host; do
  install -m 0755 "$bin/$program" "$root/usr/local/bin/$program"
done
install -m 0755 "$here/rehearse-inside.sh" "$root/usr/local/lib/rehearse"
: >"$root/root/results"

boot
wait_for is_up
play first
# systemd-nspawn ends when its machine reboots, and leaves it to who started it to go on.
inside systemctl reboot --no-block >/dev/null 2>&1 || true
wait_for is_down
boot
wait_for is_up
play rebooted

passed=$(grep -c '^ok ' "$root/root/results" || true)
failed=$(grep -c '^FAILED ' "$root/root/results" || true)
echo
grep '^FAILED ' "$root/root/results" || true
if [ "$failed" -ne 0 ] || ! grep -qx 'ok the rehearsal came to its end' "$root/root/results"; then
  echo "rehearse $suite: $passed passed, $failed FAILED"
  exit 1
fi
echo "rehearse $suite: $passed passed, none failed"
