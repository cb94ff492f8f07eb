#!/usr/bin/env bash
# What tests/rehearse.sh has a machine go through, inside of it: a CA, this host, a person, on loopback.
# Each claim is a check that can fail; /root/results has one line for each.
# usage: rehearse first | rebooted
set -uo pipefail
cd /root || exit 1
export JIT_SSH_HOME=/root/alice SSH_AUTH_SOCK=/root/alice.agent

say() { printf '\n# %s\n' "$*"; }

# check CLAIM COMMAND...  the claim holds if the command does.
check() {
  local claim=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok $claim" | tee -a results
  else
    echo "FAILED $claim" | tee -a results
    printf '%s\n' "$output" | tail -n 20 | sed 's/^/    /'
    # What guard, sshd, logind and systemd said until then; a clock that jumped is told there, too.
    journalctl --no-pager --output=short-precise --lines=60 2>/dev/null |
      grep -v jit-ssh-ca | tail -n 30 | sed 's/^/    | /'
  fi
}

not() { ! "$@"; }

# soon COMMAND...  waits until it holds; half a minute at most.
soon() {
  local tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -gt 300 ] && return 1
    sleep 0.1
  done
}

# alive NUMBER  whether a process has exactly this argument; the pattern does not match itself.
alive() { grep -qsxz "[${1:0:1}]${1:1}" /proc/[0-9]*/cmdline; }

none_alive() {
  local number
  for number in "$@"; do ! alive "$number" || return 1; done
}

all_alive() {
  local number
  for number in "$@"; do alive "$number" || return 1; done
}

# --- CA, person and client ---------------------------------------------------------------------

make_ca() {
  ssh-keygen -q -t ed25519 -N '' -C admin -f admin
  ssh-keygen -q -t ed25519 -N '' -C alice -f alice.key
  ssh-keygen -q -t ed25519 -N '' -C plain -f plain.key
  jit-ssh-ca init --config ca --state state --listen 127.0.0.1:7443 --admin admin.pub >init.out || return 1
  cat >ca/people.toml <<TOML
[[person]]
id = "alice"
name = "Alice Doe"
keys = ["$(cat alice.key.pub)"]
groups = ["sre"]
TOML
  cat >ca/hosts.toml <<TOML
[[host]]
name = "prod-host"
address = "127.0.0.1:22"
key = "$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
logins = ["deploy", "linger", "root"]
TOML
  cat >ca/policy.toml <<'TOML'
[[allow]]
name = "rehearsal"
who = ["group:sre"]
hosts = ["prod-host"]
logins = ["deploy", "linger", "root"]
max_for = "1h"
cert_for = "5m"
auto = {}
permit = ["pty", "port-forwarding"]
TOML
  rm -f ca/policy_test.toml
  start_ca || return 1
  jit-ssh-ca apply --config ca --identity admin --yes || return 1
  start_agent || return 1
  jit-ssh enroll "$(tail -n 1 init.out)" --as alice || return 1
  JIT_SSH_HOME=/root/admin.home jit-ssh enroll "$(tail -n 1 init.out)" --as admin --identity admin || return 1
  cat >ssh_config <<'CONFIG'
Host prod-host
  HostName 127.0.0.1
  HostKeyAlias prod-host
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
CONFIG
}

start_ca() {
  systemd-run --quiet --unit=rehearse-ca --working-directory=/root jit-ssh-ca serve --config ca
  soon answers
}

answers() { (exec 3<>/dev/tcp/127.0.0.1/7443) 2>/dev/null; }

start_agent() {
  rm -f "$SSH_AUTH_SOCK"
  systemd-run --quiet --unit=rehearse-agent ssh-agent -D -a "$SSH_AUTH_SOCK"
  soon test -S "$SSH_AUTH_SOCK"
  soon ssh-add -q alice.key
}

# access LOGIN FOR  gets an access by a fresh request: its id is in $id, its end in $until.
access() {
  jit-ssh login prod-host --as "$1" --for "$2" --because rehearsal --new --json >access.out 2>access.err || {
    cat access.out access.err
    return 1
  }
  id=$(sed -n 's/.*"id":"\([0-9a-z]*\)".*/\1/p' access.out | head -n 1)
  until=$(sed -n 's/.*"access_until":\([0-9]*\).*/\1/p' access.out | head -n 1)
  [ -n "$until" ]
}

# The host is known by its certificate; by its key once it has none.
known=/root/alice/state/known_hosts

as() { # LOGIN COMMAND...
  local login=$1
  shift
  ssh -F ssh_config -o UserKnownHostsFile="$known" "$login@prod-host" "$@"
}

plain() { # LOGIN COMMAND...  by a key that is none of jit-ssh's business.
  local login=$1
  shift
  SSH_AUTH_SOCK='' ssh -F ssh_config -o UserKnownHostsFile="$known" -i plain.key -o IdentitiesOnly=yes "$login@prod-host" "$@"
}

# A session with one process in the foreground and three that detach in three ways: N1 to N4.
detaching() {
  printf 'nohup sleep %s1 >/dev/null 2>&1 & setsid sleep %s2 >/dev/null 2>&1 & (setsid sleep %s3 >/dev/null 2>&1 &); exec sleep %s4' "$1" "$1" "$1" "$1"
}

# open_session LOGIN N  opens such a session and waits until all four run.
open_session() {
  as "$1" "$(detaching "$2")" >/dev/null 2>"session.$2" </dev/null &
  soon all_alive "${2}1" "${2}2" "${2}3" "${2}4" || { cat "session.$2"; return 1; }
}

gone() { none_alive "${1}1" "${1}2" "${1}3" "${1}4"; }

# How many sessions the guard has on disk; before the first one of a boot there is no file.
guard_sessions() { grep -so '"monitor"' /run/jit-ssh/guard.state | wc -l; }

watches_nothing() { [ "$(guard_sessions)" -eq 0 ]; }

# How late the last end was that the guard told of, against the moment $1; for the reader, no check.
ended() { echo "    (gone $(($(date +%s) - $1)) s after its moment, in whole seconds)"; }

is_past() { [ "$(date +%s)" -ge "$1" ]; }

# Everything in /etc but what changes by itself, with owners, modes and contents.
picture() {
  find /etc -xdev \( -type f -o -type l -o -type d \) -printf '%p %y %m %U %G %l\n' | sort
  find /etc -xdev -type f -print0 | sort -z | xargs -0 sha256sum
  systemctl list-unit-files --no-legend --no-pager | awk '{ print $1, $2 }' | sort
}

codes() { jit-ssh-host doctor --json 2>/dev/null | sed -n 's/.*"code":"\([A-Z0-9_]*\)".*/\1/p' | sort -u | tr '\n' ' '; }

# --- the play ---------------------------------------------------------------------------------

on_systemd() {
  # shellcheck source=/dev/null
  say "The machine: $(. /etc/os-release && echo "$PRETTY_NAME"), systemd $(systemctl --version | awk 'NR == 1 { print $2 }'), $(ssh -V 2>&1)"
  check "pid 1 is systemd" grep -qx systemd /proc/1/comm
  check "the hierarchy is cgroup v2 alone" grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts
  check "logind runs" systemctl is-active --quiet systemd-logind
  check "sshd is a service of systemd, with the stock configuration" systemctl is-active --quiet ssh.service
}

people() {
  local user
  for user in deploy linger other; do useradd --create-home --shell /bin/bash "$user"; done
  for user in deploy other; do
    install -d -m 0700 -o "$user" -g "$user" "/home/$user/.ssh"
    install -m 0600 -o "$user" -g "$user" plain.key.pub "/home/$user/.ssh/authorized_keys"
  done
}

setting_up() {
  say "setup"
  local url
  url=$(tail -n 1 init.out)
  picture >before
  # Nobody but root can mend this machine, and root has neither key nor password yet.
  check "setup is refused where nobody else gets in as root" refused LOCK_OUT --ca "$url" --name prod-host
  install -d -m 0700 /root/.ssh
  # A key that runs a backup only is no way in.
  echo "command=\"/bin/true\" $(cat plain.key.pub)" >/root/.ssh/authorized_keys
  check "and where a key of root runs one command only" refused LOCK_OUT --ca "$url" --name prod-host
  install -m 0600 plain.key.pub /root/.ssh/authorized_keys
  check "nothing was written" as_before
  check "a dry run writes nothing" dry_run "$url"
  check "setup is done" jit-ssh-host setup --ca "$url" --name prod-host
  check "setup again changes nothing" again "$url"
  check "systemd runs the guard, enabled" guard_runs
  # A service of PAM that does not call the hook, where this sshd can be told of one.
  if sshd -T -o PAMServiceName=sshd >/dev/null 2>&1; then
    printf 'Match User deploy\nPAMServiceName login\n' >/etc/ssh/sshd_config.d/zz-other.conf
    check "doctor finds another PAM service" finds PAM_OTHER_SERVICE
    check "setup refuses it" refused OTHER_PAM_SERVICE --ca "$url" --name prod-host
    rm /etc/ssh/sshd_config.d/zz-other.conf
    check "doctor finds none any more" not finds PAM_OTHER_SERVICE
  fi
  check "the link writes under the hardened unit how it goes" soon link_heard
  check "doctor finds what is weak on this machine, and nothing else" doctor_finds
  jit-ssh-host doctor 2>&1 | sed 's/^/    /'
  systemd-analyze security --no-pager jit-ssh-guard.service 2>/dev/null | tail -n 1 | sed 's/^/    /'
}

# refused NAME ARGUMENT...  setup refuses, by this name.
refused() {
  local name=$1
  shift
  ! jit-ssh-host setup --json "$@" >refused.out 2>refused.err && cat refused.out refused.err && grep -q "\"$name\"" refused.out refused.err
}

link_heard() {
  cat /run/jit-ssh/link.json
  [ "$(stat -c '%a %U' /run/jit-ssh/link.json)" = '600 root' ] && grep -q '"heard":[0-9]' /run/jit-ssh/link.json
}

dry_run() {
  jit-ssh-host setup --ca "$1" --name prod-host --dry-run && picture >now && diff before now
}

again() {
  picture >was
  jit-ssh-host setup --ca "$1" --name prod-host 2>again.out && picture >now &&
    diff was now && grep -q 'nothing to change' again.out
}

guard_runs() { systemctl is-active --quiet jit-ssh-guard && systemctl is-enabled --quiet jit-ssh-guard; }

# Passwords and keys of people are ways in beside certificates here, and nothing keeps a container's clock.
doctor_finds() {
  local found
  found=$(jit-ssh-host doctor --json | grep -e '"severity":"critical"' -e '"severity":"warning"' |
    sed -n 's/.*"code":"\([A-Z0-9_]*\)".*/\1/p' | sort -u | tr '\n' ' ')
  echo "$found"
  [ "${found/CLOCK_NOT_SYNCHRONISED /}" = 'PASSWORD_LOGIN STANDING_KEYS ' ]
}

login() {
  say "A login by certificate"
  access deploy 10m || return 1
  check "the host certificate is shown and trusted, and the login works" as deploy true
  check "the session is in a scope of logind" in_scope
  as deploy 'exec sleep 70001' </dev/null >/dev/null 2>&1 &
  check "the session runs" soon alive 70001
  check "the guard watches it, in that scope, and made no group of its own" guard_uses_scope
  check "logind lists the session" logind_lists
  check "the CA hears of it" soon told_used
  jit-ssh release "$id" --yes >/dev/null 2>&1
  check "released: the session is gone" soon none_alive 70001
}

by_2222() {
  plain other -p 2222 'exec sleep 71503' </dev/null >/dev/null 2>&1 &
  soon alive 71503
}

in_scope() {
  local group
  group=$(as deploy cat /proc/self/cgroup) && echo "$group" &&
    grep -qE '^0::/user.slice/user-[0-9]+.slice/session-[0-9c]+.scope$' <<<"$group"
}

guard_uses_scope() {
  cat /run/jit-ssh/guard.state
  grep -qE '"path":"/sys/fs/cgroup/user.slice/user-[0-9]+.slice/session-[0-9c]+.scope","ino":[0-9]+,"made":false' /run/jit-ssh/guard.state
}

logind_lists() { loginctl --no-legend --no-pager list-sessions && loginctl --no-legend --no-pager list-sessions | grep -q deploy; }

told_used() { jit-ssh show "$id" --json | grep -q '127.0.0.1'; }

others_begin() {
  plain other 'setsid sleep 80001 >/dev/null 2>&1 & exec sleep 80002' </dev/null >/dev/null 2>&1 &
  # The same account, by another way: the same person's slice, another scope.
  plain deploy 'exec sleep 80003' </dev/null >/dev/null 2>&1 &
  soon all_alive 80001 80002 80003
}

ends() {
  say "Ends, beside sessions of others"
  check "sessions of others begin" others_begin

  access deploy 20s
  check "a session with detached children" open_session deploy 7110
  check "it is there until its moment" not gone 7110
  check "expired: session, nohup, setsid and double fork are gone" soon gone 7110
  check "and not before its moment" is_past "$until"
  ended "$until"

  access deploy 10m
  check "a second session" open_session deploy 7120
  check "an admin revokes it" env JIT_SSH_HOME=/root/admin.home jit-ssh revoke "$id" --because rehearsal --yes
  check "revoked: session and detached children are gone" soon gone 7120
  check "revoked: no new login" not as deploy true

  soon access deploy 10m
  check "a third session" soon open_session deploy 7130
  check "its owner releases it" jit-ssh release "$id" --yes
  check "released: session and detached children are gone" soon gone 7130

  soon access root 15s
  check "a session of root" soon open_session root 7140
  check "expired: root's session and detached children are gone" soon gone 7140

  soon access root 15s
  as root '/usr/sbin/sshd -p 2222 -o PidFile=/run/sshd.2222; (setsid sleep 71501 &); exec sleep 71502' </dev/null >/dev/null 2>&1 &
  check "a session of root that starts another sshd" soon all_alive 71501 71502
  check "somebody logs in by that" by_2222
  check "expired: root's session and what it detached are gone" soon none_alive 71501 71502
  check "that sshd and who came by it go on" all_alive 71503
  check "and it still lets in" plain other -p 2222 true
  kill "$(cat /run/sshd.2222)"

  check "the sessions of others were left alone" all_alive 80001 80002 80003
  check "the guard watches nothing any more" soon watches_nothing
  check "sshd still serves others at once" plain other true
}

warned() {
  say "The warning"
  soon access deploy 30s
  as deploy -tt 'exec sleep 70021' </dev/null >tty.out 2>&1 &
  check "a session with a terminal" soon alive 70021
  check "its terminal is told before the end" soon grep -q 'this session ends in' tty.out
  check "told while it was still there" alive 70021
  check "and it ends" soon none_alive 70021
}

survivors() {
  say "What systemd starts for a user is not in the session (documented in ARCHITECTURE.md)"
  loginctl enable-linger linger
  soon access linger 12s
  as linger 'systemd-run --user --quiet sleep 70031; exec sleep 70032' </dev/null >/dev/null 2>survivors.err &
  check "a unit of a lingering user" soon all_alive 70031 70032
  check "the session is gone at its end" soon none_alive 70032
  check "the lingering user's unit lives on" alive 70031
  check "doctor names the lingering login" grep -q LINGERING <(codes)
  systemctl stop "user@$(id -u linger).service"
  loginctl disable-linger linger
  check "without lingering, doctor names none" not grep -q LINGERING <(codes)
  soon access linger 12s
  as linger 'systemd-run --user --quiet sleep 70033; exec sleep 70034' </dev/null >/dev/null 2>survivors.err &
  check "a unit of a user who does not linger" soon all_alive 70033 70034
  check "the session is gone at its end" soon none_alive 70034
  # systemd stops a user's manager ten seconds or more after the last session.
  if soon none_alive 70033; then echo "    (its unit went, too)"; else echo "    (its unit lives on)"; fi
  systemctl stop "user@$(id -u linger).service"
}

restarts() {
  say "The guard restarted, killed, upgraded"
  soon access deploy 25s
  check "a session" soon open_session deploy 7210
  check "systemctl restart" systemctl restart jit-ssh-guard
  check "it goes on" all_alive 72101 72102 72103 72104
  local was
  was=$(systemctl show -p MainPID --value jit-ssh-guard)
  check "kill -9" kill -KILL "$was"
  check "systemd starts it anew" soon another_guard "$was"
  check "it goes on still" all_alive 72101 72102 72103 72104
  cp /usr/local/bin/jit-ssh-host /usr/local/bin/.new && mv /usr/local/bin/.new /usr/local/bin/jit-ssh-host
  check "another program in its place, and restart" systemctl restart jit-ssh-guard
  check "the deadline held: all is gone" soon gone 7210
  check "and not before its moment" is_past "$until"

  soon access deploy 10m
  systemctl stop jit-ssh-guard
  check "without the guard nobody gets in with a certificate" not as deploy true
  check "and others do" plain other true
  check "no connection stays open" not lingering_monitor
  check "doctor says that it does not run" grep -q GUARD_NOT_RUNNING <(codes)
  check "it starts again" systemctl start jit-ssh-guard
  check "and a login works" soon as deploy true
  check "a crowd that says nothing to the guard keeps nobody out" in_a_crowd as deploy true
  say "A guard without its link"
  local override=/run/systemd/system/jit-ssh-guard.service.d
  install -d "$override"
  printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/jit-ssh-host guard --no-link\n' >"$override/test.conf"
  systemctl daemon-reload
  systemctl restart jit-ssh-guard
  check "doctor finds that no revocation arrives" soon finds LINK_NOT_RUNNING
  rm -r "$override"
  systemctl daemon-reload
  systemctl restart jit-ssh-guard
  check "and no more, once it has its link" soon not finds LINK_NOT_RUNNING
}

finds() { grep -q "$1" <(codes); }

# in_a_crowd COMMAND...  runs it while 300 connections to the guard, of root, say nothing.
in_a_crowd() {
  # shellcheck disable=SC2016 # perl's own
  perl -MSocket -e 'my @all; for (1..300) { socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or last;
    connect($s, pack_sockaddr_un("/run/jit-ssh/guard.sock")) or last; push @all, $s } print scalar(@all), "\n"; STDOUT->flush; sleep 20' >crowd.out &
  local crowd=$! result
  soon grep -q . crowd.out
  cat crowd.out
  "$@"
  result=$?
  kill "$crowd"
  return "$result"
}

another_guard() {
  local now
  now=$(systemctl show -p MainPID --value jit-ssh-guard)
  [ "$now" != 0 ] && [ "$now" != "$1" ] && [ -S /run/jit-ssh/guard.sock ]
}

lingering_monitor() { pgrep -af '^sshd(-session)?: deploy \[priv\]' | grep -v 80003 | sed 1d | grep -q .; }

own_groups() {
  say "Where logind makes no scope, the guard makes the group"
  cp -p /etc/pam.d/common-session common-session
  sed -i 's/^session.*pam_systemd/#&/' /etc/pam.d/common-session
  soon access deploy 25s
  check "a session outside of logind" soon open_session deploy 7310
  check "the guard made its group, below its own" grep -q 'jit-ssh-guard.service/sessions/[^"]*","ino":[0-9]*,"made":true' /run/jit-ssh/guard.state
  check "systemctl restart leaves it" systemctl restart jit-ssh-guard
  check "it goes on" all_alive 73101 73102 73103 73104
  check "all is gone at its end" soon gone 7310
  cp -p common-session /etc/pam.d/common-session
}

break_glass() {
  say "The sealed key"
  local url
  url=$(tail -n 1 init.out)
  ssh-keygen -q -t ed25519 -N '' -f sealed
  ssh-keygen -q -t ed25519 -N '' -f rescue
  ssh-keygen -q -s sealed -I 'ann, INC-42' -n root@prod-host -z 1 -V +10m rescue.pub
  check "setup with a sealed key" jit-ssh-host setup --ca "$url" --name prod-host --offline-ca sealed.pub
  plain other -tt 'exec sleep 70041' </dev/null >wall.out 2>&1 &
  soon alive 70041
  check "the sealed key lets in" env SSH_AUTH_SOCK= ssh -F ssh_config -o UserKnownHostsFile="$known" -i rescue -o CertificateFile=rescue-cert.pub -o IdentitiesOnly=yes root@prod-host true
  check "every terminal is told" soon grep -q BREAK-GLASS wall.out
  check "the journal has it at level alert" grep -q BREAK-GLASS <(journalctl --no-pager -p alert)
  check "setup without it takes it out again" jit-ssh-host setup --ca "$url" --name prod-host
}

quiet() {
  journalctl --no-pager -u jit-ssh-guard | tail -n 60 | sed 's/^/    /'
  check "the hardened unit denied the guard nothing" not grep -iE 'not permitted|permission denied|can not be (ended|killed|signalled|written)' <(journalctl --no-pager -u jit-ssh-guard)
}

rebooted() {
  say "After a reboot"
  check "the guard runs" guard_runs
  check "and it ran before sshd" test "$(started jit-ssh-guard)" -le "$(started ssh)"
  check "it watches nothing of the boot before" watches_nothing
  check "CA and agent run" back
  soon access deploy 15s
  check "a login works" soon open_session deploy 7410
  check "and ends" soon gone 7410
  quiet
}

started() { systemctl show -p ActiveEnterTimestampMonotonic --value "$1"; }

back() { start_ca && start_agent; }

removed() {
  say "setup --remove"
  soon access deploy 10m
  check "until then a certificate gets in" soon as deploy true
  as deploy 'exec sleep 70051' </dev/null >/dev/null 2>&1 &
  check "somebody is in" soon alive 70051
  local url
  url=$(tail -n 1 init.out)
  check "with a live session it is refused" refused LIVE_SESSIONS --remove
  check "and so is --guard off" refused LIVE_SESSIONS --ca "$url" --name prod-host --guard off
  check "to end it, from within it, is refused" from_within LIVE_SESSIONS --remove --end-sessions
  check "the session was left alone" alive 70051
  # It was the last one that was asked for.
  soon access deploy 10m
  check "--guard off leaves it where that is said" jit-ssh-host setup --ca "$url" --name prod-host --guard off --leave-sessions
  check "it goes on" alive 70051
  check "doctor names the guard that is off" finds GUARD_OFF
  check "the guard is set up again" jit-ssh-host setup --ca "$url" --name prod-host
  check "and has no session of before" soon watches_nothing
  as deploy 'exec sleep 70052' </dev/null >/dev/null 2>&1 &
  check "somebody is in again" soon alive 70052
  # Nobody watches this one any more.
  pkill -f 'sleep 7005[1]'
  check "it is done" jit-ssh-host setup --remove --end-sessions
  check "the session that was watched has ended" none_alive 70052
  check "the guard is gone" not systemctl is-active --quiet jit-ssh-guard
  check "/etc and units are as before" as_before
  check "nothing of ours is in /run" not test -e /run/jit-ssh
  known=/root/known_by_key
  echo "prod-host $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >"$known"
  check "no certificate gets in" not as deploy true
  check "others do" soon plain other true
}

# from_within NAME ARGUMENT...  setup refuses, run in a session of root that the guard watches.
from_within() {
  local name=$1
  shift
  soon access root 10m || return 1
  as root "jit-ssh-host setup --json $*" >within.out 2>&1 && return 1
  cat within.out
  grep -q "$name" within.out && grep -q 'runs in one of them' within.out
}

as_before() { picture >after && diff before after; }

case ${1:?usage: rehearse first | rebooted} in
  first)
    on_systemd
    check "a CA, a person, a client" make_ca
    people
    setting_up
    login
    ends
    warned
    survivors
    restarts
    own_groups
    break_glass
    quiet
    ;;
  rebooted)
    rebooted
    removed
    echo 'ok the rehearsal came to its end' >>results
    ;;
esac
