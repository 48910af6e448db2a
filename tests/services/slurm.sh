#!/usr/bin/env bash
# A throw-away Slurm of one node for the tests: slurm.sh start FOLDER, slurm.sh stop FOLDER. Needs root, slurm-wlm and
# munge; keeps no accounts. Keys, logs and state lie in FOLDER, and processes are found again by their pid files there.
# CPUS, MEMORY (MB) and GPUS say what the node claims to have, which may be more than there is.
set -euo pipefail
command=$1 folder=$(realpath -m "$2")
standard=/etc/slurm/slurm.conf # a job step's srun gets no SLURM_CONF from Snakemake and looks only here
export SLURM_CONF=$folder/slurm.conf PATH=$PATH:/usr/sbin:/sbin

stop() {
    [ ! -s "$folder/slurmctld.pid" ] || scancel --user="$(id -un)" 2>/dev/null || true
    for daemon in slurmd slurmctld munged; do
        [ -s "$folder/$daemon.pid" ] || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid" 2>/dev/null || true
        # where nobody reaps it, a process that has ended stays as Z
        timeout 15 bash -c 'while s=$(ps -o stat= -p '"$pid"') && [[ $s != Z* ]]; do sleep 0.1; done' || true
        rm -f "$folder/$daemon.pid"
    done
    [ "$(readlink "$standard" 2>/dev/null)" != "$SLURM_CONF" ] || rm -f "$standard"
}

start() {
    cpus=${CPUS:-8} memory=${MEMORY:-64000} gpus=${GPUS:-2} node=$(hostname -s)
    if [ -e "$standard" ]; then
        echo "$standard is there already: this machine has a Slurm of its own, or another test's" >&2
        exit 3
    fi
    mkdir -p "$folder"/{state,spool,devices} /etc/slurm
    install -m 700 -d "$folder/key"
    head -c 1024 /dev/urandom >"$folder/key/munge.key"
    chmod 400 "$folder/key/munge.key"
    # slurmd counts a GPU only if its file is a character device: twins of /dev/null serve
    for ((i = 0; i < gpus; i++)); do
        [ -c "$folder/devices/gpu$i" ] || mknod "$folder/devices/gpu$i" c 1 3
    done
    echo "Name=gpu File=$folder/devices/gpu[0-$((gpus - 1))]" >"$folder/gres.conf"
    settings=(
        ClusterName=test "SlurmctldHost=$node(127.0.0.1)" SlurmctldPort=26817 SlurmdPort=26818
        SlurmUser=root SlurmdUser=root AuthType=auth/munge "AuthInfo=socket=$folder/munge.socket" CredType=cred/munge
        "StateSaveLocation=$folder/state" "SlurmdSpoolDir=$folder/spool"
        "SlurmctldPidFile=$folder/slurmctld.pid" "SlurmdPidFile=$folder/slurmd.pid"
        "SlurmctldLogFile=$folder/slurmctld.log" "SlurmdLogFile=$folder/slurmd.log"
        # no cgroups
        ProctrackType=proctrack/linuxproc TaskPlugin=task/none MpiDefault=none
        # a finished job stays visible for squeue over many polls
        MinJobAge=300
        SelectType=select/cons_tres SelectTypeParameters=CR_Core_Memory
        SchedulerParameters=sched_min_interval=0,batch_sched_delay=0 ReturnToService=2
        # believe the node line below, not the machine
        SlurmdParameters=config_overrides GresTypes=gpu
        "NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus"
        "PartitionName=cpu Nodes=$node Default=YES" "PartitionName=gpu Nodes=$node"
    )
    printf '%s\n' "${settings[@]}" >"$SLURM_CONF"
    ln -sfn "$SLURM_CONF" "$standard"
    munged --force --socket="$folder/munge.socket" --key-file="$folder/key/munge.key" --pid-file="$folder/munged.pid" \
        --seed-file="$folder/key/munge.seed" --log-file="$folder/munged.log"
    slurmctld -c
    slurmd -c
    for _ in {1..100}; do
        [[ $(sinfo --noheader --format=%T 2>/dev/null) != *idle* ]] || return 0
        sleep 0.2
    done
    echo "the node did not become idle; see $folder/*.log" >&2
    exit 1
}

case $command in
start) trap 'code=$?; [ $code = 0 ] || [ $code = 3 ] || stop' EXIT && start ;;
stop) stop ;;
*) echo "usage: slurm.sh start|stop FOLDER" >&2 && exit 2 ;;
esac
