#!/usr/bin/env bash
# A throw-away Grid Engine of one node for the tests: gridengine.sh start FOLDER, gridengine.sh stop FOLDER. Needs root,
# gridengine-master, gridengine-exec and gridengine-client. All of it lies in FOLDER; FOLDER/environment has the variables by which
# its commands find it. The node claims to have 16 slots, 200 GB and two GPUs, counted by job.
set -euo pipefail
command=$1 folder=$(realpath -m "$2")
export SGE_ROOT=$folder/root SGE_CELL=default SGE_QMASTER_PORT=26444 SGE_EXECD_PORT=26445

stop() {
    if [ -s "$folder/qmaster/qmaster.pid" ]; then
        qdel -u "$(id -un)" >/dev/null 2>&1 || true
        for _ in {1..20}; do
            [ -n "$(qstat 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    for pid in "$folder"/execd/*/execd.pid "$folder"/qmaster/qmaster.pid; do
        [ ! -s "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
    done
}

# what `qconf` shows as a template, with some values changed: configured -sq -Aq qname=all.q ...
configured() {
    local show=$1 add=$2 change
    shift 2
    # on one line each; the file of the configuration of all hosts has to be called global
    SGE_SINGLE_LINE=1 qconf $show >"$folder/global"
    for change in "$@"; do
        sed -i "s|^${change%%=*} .*|${change%%=*} ${change#*=}|" "$folder/global"
    done
    qconf "$add" "$folder/global" >/dev/null
}

start() {
    node=$(hostname -s)
    mkdir -p "$SGE_ROOT/$SGE_CELL/common" "$folder"/{qmaster/job_scripts,execd,spooldb}
    cp --archive /var/lib/gridengine/{bin,lib,util,utilbin} "$SGE_ROOT"
    # Debian's own, but for where things lie and who runs them
    sed "s|^admin_user .*|admin_user root|; s|^spooling_params .*|spooling_params $folder/spooldb|; s|^qmaster_spool_dir .*|qmaster_spool_dir $folder/qmaster|" \
        /usr/share/gridengine/default-bootstrap >"$SGE_ROOT/$SGE_CELL/common/bootstrap"
    /usr/share/gridengine/scripts/init_cluster "$SGE_ROOT" $SGE_CELL "$folder/spooldb" root >/dev/null
    # one name for all that this machine calls itself at 127.0.0.1
    names=$(awk -v node="$node" '$1 == "127.0.0.1" { for (i = 2; i <= NF; i++) if ($i != node) print $i }' /etc/hosts)
    echo "$node" $names >"$SGE_ROOT/$SGE_CELL/common/host_aliases"
    echo "$node" >"$SGE_ROOT/$SGE_CELL/common/act_qmaster"
    env | grep ^SGE_ >"$folder/environment"
    sge_qmaster
    for _ in {1..60}; do
        ! qconf -sconf >/dev/null 2>&1 || break
        sleep 0.5
    done
    qconf -ah "$node" >/dev/null 2>&1 || true
    qconf -as "$node" >/dev/null
    configured -sconf -Mconf min_uid=0 min_gid=0 "execd_spool_dir=$folder/execd" "reporting_params=accounting=true"
    configured -ssconf -Msconf schedule_interval=0:0:1 flush_submit_sec=1 flush_finish_sec=1
    qconf -sc >"$folder/global"
    echo "gpu gpu INT <= YES JOB 0 0" >>"$folder/global"
    qconf -Mc "$folder/global" >/dev/null
    sge_execd
    for _ in {1..60}; do
        ! qconf -se "$node" >/dev/null 2>&1 || break
        sleep 0.5
    done
    printf '%s\n' "hostname $node" "load_scaling NONE" "complex_values gpu=2,h_vmem=200G" "user_lists NONE" "xuser_lists NONE" \
        "projects NONE" "xprojects NONE" "usage_scaling NONE" "report_variables NONE" >"$folder/global"
    qconf -Me "$folder/global" >/dev/null
    printf '%s\n' "pe_name smp" "slots 999" "user_lists NONE" "xuser_lists NONE" "start_proc_args NONE" "stop_proc_args NONE" \
        'allocation_rule $pe_slots' "control_slaves FALSE" "job_is_first_task TRUE" "urgency_slots min" \
        "accounting_summary FALSE" "qsort_args NONE" >"$folder/global"
    qconf -Ap "$folder/global" >/dev/null
    configured -sq -Aq qname=all.q "hostlist=$node" pe_list=smp slots=16 shell=/bin/sh load_thresholds=NONE
}

case $command in
start) trap 'code=$?; [ $code = 0 ] || stop' EXIT && start ;;
stop) stop ;;
*) echo "usage: gridengine.sh start|stop FOLDER" >&2 && exit 2 ;;
esac
