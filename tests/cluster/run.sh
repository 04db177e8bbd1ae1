#!/usr/bin/env bash
# Starts a Slurm of one node on this machine's loopback address, lets story.py run the smoke graph on it, and stops it.
#   tests/cluster/run.sh [PYTHON]      PYTHON has the pinned packages; .venv/bin/python when not given
# Debian or Ubuntu, as root or with sudo. The results of the checkout are not touched: the graph runs in a copy of it.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd -P)
python=${1:-$root/.venv/bin/python}
[ "$(id -u)" = 0 ] && sudo="" || sudo="sudo"

fail() { echo "test-cluster: $*" >&2; exit 1; }
[ -x "$python" ] || fail "there is no $python; make install makes it"
"$python" -c 'import snakemake_executor_plugin_slurm' 2>/dev/null ||
  fail "the Slurm plugin is not installed: $python -m pip install snakemake-executor-plugin-slurm"
[ -z "$sudo" ] || command -v sudo >/dev/null || fail "Slurm's daemons need root: call this as root, or install sudo"

export PATH="$PATH:/usr/sbin"  # where the daemons are, and where Debian's users do not look
missing=""
for name in slurmctld slurmd munged squeue; do command -v $name >/dev/null || missing="$missing $name"; done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || fail "not installed:$missing; without apt-get that is yours to do"
  echo "installing slurmctld, slurmd, slurm-client and munge"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    slurmctld slurmd slurm-client munge >/dev/null
fi

# munged trusts a key only where no other user could have replaced it: in a folder of root's.
here=$($sudo mktemp -d -p /tmp aot-slurm.XXXXXX)
copy=$(mktemp -d -p /tmp aot-copy.XXXXXX)
stop() {
  code=$?
  trap - EXIT INT TERM HUP
  [ $code = 0 ] || $sudo sh -c 'tail -n 15 "$1"/*.log' - "$here" >&2 || true
  [ ! -f "$here/slurmctld.pid" ] || scancel --user="$(id -un)" 2>/dev/null || true
  sleep 1  # a job's last process needs the node's daemon to end
  for name in slurmd slurmctld munged; do
    pid=$($sudo cat "$here/$name.pid" 2>/dev/null) || continue
    $sudo kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do $sudo kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    $sudo kill -KILL "$pid" 2>/dev/null || true
  done
  if [ $code = 0 ]; then $sudo rm -rf "$here" "$copy"; else echo "kept: $here (Slurm), $copy (the run)" >&2; fi
  exit $code
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

host=$(hostname -s)
cores=$(getconf _NPROCESSORS_ONLN)  # nproc would answer with OMP_NUM_THREADS
read -r port1 port2 < <("$python" - <<'END'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))
END
)
$sudo chmod 755 "$here"
$sudo mkdir "$here/state" "$here/spool"
$sudo sh -c 'umask 377; head -c 1024 /dev/urandom > "$1"' - "$here/key"
$sudo tee "$here/slurm.conf" >/dev/null <<END
ClusterName=aot
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port1
SlurmdPort=$port2
# nobody outside this machine is to submit jobs that run here
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket
SlurmUser=root
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
# no cgroups: inside a container they cannot be written
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# squeue is all the history there is: it must remember every job of the test
MinJobAge=7200
KillWait=5
ReturnToService=2
# the node claims the memory that the profile asks for, so that the profile can be tested as it is
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
version=$(slurmctld -V | grep -oE '[0-9]+\.[0-9]+' | head -1)
# What keeps slurmd from asking systemd for a cgroup was renamed in 24.05, and an unknown word is an error.
if [ "$(printf '%s\n' 24.05 "$version" | sort -V | head -1)" = 24.05 ]; then word=CgroupPlugin=disabled; else word=IgnoreSystemd=yes; fi
echo "$word" | $sudo tee "$here/cgroup.conf" >/dev/null
export SLURM_CONF="$here/slurm.conf"
# Inside a job the plugin calls srun without any SLURM_ variable, and srun would look for /etc/slurm/slurm.conf.
$sudo mkdir "$here/bin"
printf '#!/bin/sh\nSLURM_CONF="%s" exec "%s" "$@"\n' "$SLURM_CONF" "$(command -v srun)" | $sudo tee "$here/bin/srun" >/dev/null
$sudo chmod 755 "$here/bin/srun"
export PATH="$here/bin:$PATH"

echo "starting munged, slurmctld and slurmd ($(slurmctld -V)), node $host with $cores cores"
$sudo munged --key-file="$here/key" --socket="$here/munge.socket" --pid-file="$here/munged.pid" \
  --log-file="$here/munged.log" --seed-file="$here/seed"
$sudo env SLURM_CONF="$SLURM_CONF" slurmctld
$sudo env SLURM_CONF="$SLURM_CONF" slurmd -N "$host"
for _ in $(seq 60); do [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ] && break; sleep 0.5; done
[ "$(sinfo --noheader --format=%T)" = idle ] || fail "the node is not idle after 30 s: $(sinfo --noheader --format='%T %E')"

echo "copying the checkout"
(cd "$root" && git ls-files --cached --others --exclude-standard -z |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --null --files-from=- --create) | tar --extract --directory "$copy"
# PYTHONPATH: the notebooks' processes import the copy, not the checkout that is installed in .venv.
cd "$copy" && OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONPATH="$copy" "$python" tests/cluster/story.py
