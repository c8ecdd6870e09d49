# shellcheck shell=bash
# What all brokers share: words to the user, processes that leave nothing behind, packages.

say() { printf 'brokers: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

now() { echo "${EPOCHREALTIME//[.,]/}"; } # microseconds
seconds_since() { local tenths=$((($(now) - $1 + 50000) / 100000)); echo "$((tenths / 10)).$((tenths % 10))"; }

# ask VERB NAME: what the broker's own file does for it; kafka2 and kafka3 are answered by kafka's.
ask() { "${2%%[0-9]}_$1" "$2"; }

# --- processes ---------------------------------------------------------------------------------------------
# A pid file holds a pid and the start time of that process: pids are reused, the pair is not. Beside it, each
# process and all that it starts carry SEAM_BROKER in their environment, which finds what no pid file knows.

mark() { echo "SEAM_BROKER=$data:$1"; }

# marked NAME: the pids of all that were started for this broker; `marked_in FOLDER`: for any broker of a folder.
marked() { grep -slzxF "$(mark "$1")" /proc/[0-9]*/environ | cut -d/ -f3 || true; }
marked_in() { grep -slzF "SEAM_BROKER=$1:" /proc/[0-9]*/environ | cut -d/ -f3 || true; }

started_at() { # started_at PID: in clock ticks; nothing for one that is gone, or a zombie
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    read -ra stat <<<"${stat##*) }" # state, ppid, ... : the name before may hold anything
    [[ ${stat[0]} == Z ]] || echo "${stat[19]}"
}

pid_of() { cut -d' ' -f1 "$data/run/$1.pid"; }

alive() { # alive PROCESS
    local pid at
    read -r pid at 2>/dev/null <"$data/run/$1.pid" && [[ -n $at && $(started_at "$pid") == "$at" ]]
}

# spawn BROKER PROCESS COMMAND...: in a session of its own, so that Ctrl-C does not reach it, without our lock.
spawn() {
    local broker=$1 process=$2
    shift 2
    env "$(mark "$broker")" setsid "$@" </dev/null >>"$(log_of "$broker")" 2>&1 9>&- &
    echo "$! $(started_at $!)" >"$data/run/$process.pid"
}

# grace: the seconds that a broker has at most to end by itself.
grace=60

# finish PROCESS SIGNAL SECONDS: signals it, waits, and kills it after that time.
finish() {
    local process=$1 end=$((SECONDS + ($3 < grace ? $3 : grace))) pid
    if alive "$process"; then
        pid=$(pid_of "$process")
        kill "-$2" "$pid" 2>/dev/null || true
        [[ $2 == KILL ]] || kill -CONT "$pid" 2>/dev/null || true # a paused one does not hear it
        while alive "$process" && ((SECONDS < end)); do sleep 0.05; done
        kill -KILL "$pid" 2>/dev/null || true
        while alive "$process"; do sleep 0.05; done
    fi
    rm -f "$data/run/$process.pid"
}

# sweep BROKER: whatever is left of it, for example after its start was interrupted. Says so, and kills it.
sweep() {
    local pids end=$((SECONDS + 2))
    mapfile -t pids < <(marked "$1")
    while ((${#pids[@]} > 0 && SECONDS < end)); do # they are ending
        sleep 0.05
        mapfile -t pids < <(marked "$1")
    done
    ((${#pids[@]} > 0)) || return 0
    say "$1 left processes behind, killed now: ${pids[*]}"
    kill -KILL "${pids[@]}" 2>/dev/null || true
    while [[ -n $(marked "$1") ]] && ((SECONDS < end + 2)); do sleep 0.05; done
}

log_of() { echo "$data/log/$1.log"; }
logged() { "$@" </dev/null >>"$(log_of "$name")" 2>&1 9>&-; } # of the broker that is being brought up

# --- the network -------------------------------------------------------------------------------------------

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# patience: how many seconds a broker may take to answer when it is asked whether it is ready.
patience=30

http_ok() { # http_ok PORT: the request of standard input is answered with 200
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        cat >&3
        IFS= read -r -t "$patience" -u 3 line && [[ $line == *" 200 "* ]]
    ) 2>/dev/null
}

# --- packages ----------------------------------------------------------------------------------------------

has() { type -P "$1" >/dev/null; }

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# install_packages PACKAGE...: by apt, without starting any service that a package brings.
install_packages() {
    has apt-get || die "missing: $*; install them, or start a Docker engine"
    ((EUID == 0)) || has sudo || die "missing: $*; install them as root"
    say "installing $*"
    local policy=/usr/sbin/policy-rc.d log=$data/log/packages.log ours='' code=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
        ours=1
    fi
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"; } >>"$log" 2>&1 9>&- || code=$?
    [[ -z $ours ]] || as_root rm -f "$policy"
    ((code == 0)) || { tail -n 20 "$log" >&2; die "apt-get failed"; }
}

# stamp FOLDER FILE...: what is in the folder was made from these files, as they are now.
stamp() { local folder=$1; shift; cat "$@" | sha256sum >"$folder/.stamp"; }
stamped() { local folder=$1; shift; [[ -s $folder/.stamp && $(<"$folder/.stamp") == "$(cat "$@" | sha256sum)" ]]; }
