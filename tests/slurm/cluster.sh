# SPDX-License-Identifier: Apache-2.0
# A Slurm of this machine alone: munged, slurmctld and slurmd under their own configuration in a folder,
# with ports of their own; no systemd, no cgroups.  Two partitions: jobs of `high` push those of `low`
# back into the queue, with GraceTime to write a checkpoint.
#
#     cluster_start DIR || echo "$why"     sets SLURM_CONF; CPUS processors are pretended
#     cluster_stop                         ends the jobs and the daemons, waits until they are gone

cluster_why() { # why there can be none, or nothing
    local p
    for p in munged slurmctld slurmd sbatch srun scontrol; do
        command -v $p >/dev/null || { echo "no $p here: apt-get install slurm-wlm munge"; return; }
    done
    [ "$(id -u)" = 0 ] || echo "slurmd starts jobs as root only"
}

cluster_port() { # a TCP port that nobody listens on
    local p
    while :; do
        p=$((20000 + RANDOM % 10000))
        (: <>/dev/tcp/127.0.0.1/$p) 2>/dev/null || { echo $p; return; }
    done
}

cluster_munge() { # as root: its user could not enter a scratch folder
    mkdir -m 755 "$CLUSTER/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$CLUSTER/munge/key")
    munged --force --key-file="$CLUSTER/munge/key" --socket="$CLUSTER/munge/socket" --pid-file="$CLUSTER/munge/pid" \
        --log-file="$CLUSTER/munge/log" --seed-file="$CLUSTER/munge/seed" >"$CLUSTER/munge.out" 2>&1
}

cluster_conf() {
    local host; host=$(hostname -s)
    cat <<CONF
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(cluster_port)
SlurmdPort=$(cluster_port)
AuthType=auth/munge
AuthInfo=socket=$CLUSTER/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd.pid
SlurmctldLogFile=$CLUSTER/slurmctld.log
SlurmdLogFile=$CLUSTER/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
GresTypes=gpu
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=${CPUS:-4} Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE State=UP
PartitionName=high Nodes=$host PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
CONF
}

cluster_start() { # cluster_start DIR: 1 when it did not come up, with the reason in $why
    CLUSTER=$1
    mkdir -m 755 "$CLUSTER" && mkdir "$CLUSTER/state" "$CLUSTER/spool"
    export SLURM_CONF=$CLUSTER/slurm.conf
    unset ${!SBATCH_*} ${!SRUN_*} ${!PMIX_*} ${!OMPI_COMM*}
    cluster_munge || { why="munged: $(tail -n 1 "$CLUSTER/munge.out")"; return 1; }
    cluster_conf >"$SLURM_CONF"
    printf 'Name=gpu File=%s\n' /dev/null /dev/zero >"$CLUSTER/gres.conf" # no job opens them
    slurmctld -f "$SLURM_CONF" >"$CLUSTER/slurmctld.out" 2>&1 || { why="slurmctld: $(tail -n 1 "$CLUSTER/slurmctld.out")"; return 1; }
    slurmd -f "$SLURM_CONF" >"$CLUSTER/slurmd.out" 2>&1 || { why="slurmd: $(tail -n 1 "$CLUSTER/slurmd.out")"; return 1; }
    local i
    for i in $(seq 100); do
        [ "$(sinfo -h -o %T 2>/dev/null | head -n 1)" = idle ] && return 0
        sleep 0.2
    done
    why="the node is not idle after 20 s: $(tail -n 1 "$CLUSTER/slurmctld.log")"
    return 1
}

cluster_stop() {
    local f pid i
    [ -n "${CLUSTER-}" ] || return 0
    if [ -s "$CLUSTER/slurmctld.pid" ]; then
        scancel --signal=KILL --full $(squeue -h -o %A 2>/dev/null) 2>/dev/null
        scancel $(squeue -h -o %A 2>/dev/null) 2>/dev/null
        for i in $(seq 100); do [ -z "$(squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
    fi
    for f in slurmd.pid slurmctld.pid munge/pid; do
        pid=$(cat "$CLUSTER/$f" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null
        for i in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null
    done
    CLUSTER=
}
