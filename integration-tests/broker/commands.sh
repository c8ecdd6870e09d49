# shellcheck shell=bash
# The commands, over brokers that are processes (`native_...`, here) or containers (`compose_...`).

command_up() {
    local names_up
    default_names "$@"
    lock
    up "${names_up[@]}"
    ((${#failed[@]} == 0)) || exit 1
}

command_run() {
    local names_up=() name code=0
    while (($# > 0)) && [[ $1 != -- ]]; do names_up+=("$1") && shift; done
    (($# > 1)) || misused "run takes -- and a command"
    named + "${names_up[@]}"
    shift
    default_names "${names_up[@]}"
    lock
    up "${names_up[@]}" >&2
    if ((${#failed[@]} == 0)); then
        unlock
        attend "$@" || code=$?
        trap '' INT TERM HUP
        lock
    else
        code=1
    fi
    down "${begun[@]}"
    exit "$code"
}

command_env() { print_env; }

command_status() {
    local names_up name code=0
    default_names "$@"
    if (($# == 0)); then
        for name in "${more[@]}"; do [[ ! -e $data/run/$name.pid ]] || names_up+=("$name"); done
    fi
    patience=2
    for name in "${names_up[@]}"; do tell "$name" || code=1; done
    exit "$code"
}

command_restart() {
    lock
    is_up "$1" || die "$1 is not up"
    "${with}_stop" "$1"
    up "$1"
    ((${#failed[@]} == 0)) || exit 1
}

command_kill() {
    lock
    is_up "$1" || die "$1 is not up"
    "${with}_kill" "$1"
    echo "$1 killed"
}

command_pause() {
    lock
    is_up "$1" || die "$1 is not up"
    "${with}_pause" "$1"
    echo "$1 paused"
}

command_resume() {
    lock
    is_up "$1" || die "$1 is not up"
    "${with}_resume" "$1"
    echo "$1 resumed"
}

command_ctl() { # it may be asked while another command is at work
    is_up "$1" || die "$1 is not up"
    "${with}_ctl" "$@" </dev/null
}

command_down() {
    lock
    if (($# == 0)); then down "${more[@]}" "${names[@]}"; else down "$@"; fi
}

command_clean() {
    lock
    down "${more[@]}" "${names[@]}"
    [[ -z ${with:-} ]] || "${with}_clean"
    find "$data" -mindepth 1 -maxdepth 1 ! -name programs ! -name lock -exec rm -rf {} +
}

# --- up ----------------------------------------------------------------------------------------------------

# up NAME...: sets `begun` to those that were down, and `failed` to those that did not become ready.
up() {
    begun=() failed=() workers=()
    local name packages
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    trap 'interrupted 129' HUP
    prepare
    for name; do is_up "$name" || begun+=("$name"); done
    if [[ $with == compose ]]; then
        together compose_bring "$*"
    else
        [[ " $* " != *" rabbitmq "* ]] || rabbitmq_as_wanted
        mapfile -t packages < <(for name; do ask packages "$name"; done | tr ' ' '\n' | sort -u | sed '/^$/d')
        ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
        sh "$parts/certs.sh" "$data/certs"
        # kafka first, since the internal topics of the cluster go to the nodes that are there when it begins.
        in_two "$@"
        together native_bring "${leaders[@]}"
        [[ " ${failed[*]} " == *" kafka "* ]] || together native_bring "${followers[@]}"
    fi
    trap - INT TERM HUP
}

# in_two NAME...: sets `followers` to those that need another broker, and `leaders` to the rest.
in_two() {
    local name
    leaders=() followers=()
    for name; do
        if [[ " ${more[*]} " == *" $name "* ]]; then followers+=("$name"); else leaders+=("$name"); fi
    done
}

# Chooses containers or processes, and the ports, unless something is up already.
prepare() {
    [[ -n ${with:-} ]] || sweep_all
    if [[ -n ${base:-} && -n ${with:-} && -n $(compgen -G "$data/run/*.pid") ]]; then
        [[ -z $SEAM_BROKERS_WITH || $SEAM_BROKERS_WITH == "$with" ]] || die "brokers of $with are up: take them down first"
        return
    fi
    with=$SEAM_BROKERS_WITH
    [[ -n $with ]] || if compose_answers; then with=compose; else with=native; fi
    echo "$with" >"$data/with"
    claim_base
}

# together FUNCTION NAME...: in the background, side by side; what fails shows the end of its log.
together() {
    local function=$1 name
    local -A worker=()
    shift
    for name; do
        set -m # a process group for each, so that Ctrl-C can be handed to all that it has started
        "$function" "$name" &
        set +m
        worker[$name]=$! workers+=("$!")
    done
    for name; do
        wait "${worker[$name]}" && continue
        failed+=("$name")
        "${with}_failed" "$name"
    done
}

native_bring() {
    local name=$1 since
    since=$(now)
    if alive "$name"; then
        kill -CONT "$(pid_of "$name")" # it may be paused
        await "$name"
        echo "$name $(ask version "$name") is up on 127.0.0.1:$(port "$name")"
    else
        ( # another folder may share the programs
            flock 7
            ask install "$name"
        ) 7>"$programs/.${name%%[0-9]}.lock"
        ask start "$name"
        await "$name"
        echo "$name $(ask version "$name") up on 127.0.0.1:$(port "$name") in $(seconds_since "$since") s"
    fi
}

native_failed() {
    [[ ! -s $(log_of "$1") ]] || tail -n 20 "$(log_of "$1")" | sed "s/^/$1: /" >&2
    say "$1 did not come up; its log: $(log_of "$1")"
    native_stop "$1"
}

await() {
    local limit=${SEAM_BROKERS_TIMEOUT:-60} end
    end=$((SECONDS + limit))
    until ask ready "$1"; do
        is_up "$1" || die "$1 ended while it started"
        ((SECONDS < end)) || die "$1 is not ready after $limit s"
        sleep 0.1
    done
}

# Ctrl-C and its like during `up`: stops what was begun, and nothing else.
interrupted() {
    local pid
    trap '' INT TERM HUP
    for pid in "${workers[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    wait 2>/dev/null
    grace=3 # RabbitMQ hears nothing while it boots
    down "${begun[@]}"
    exit "$1"
}

# --- down --------------------------------------------------------------------------------------------------

# down NAME...: stops them, brokers of a cluster before its controller, and looks that nothing is left of them.
down() {
    [[ -n ${with:-} ]] || { sweep_all && return; }
    in_two "$@"
    "${with}_stop" "${followers[@]}"
    "${with}_stop" "${leaders[@]}"
    if [[ -z $(compgen -G "$data/run/*.pid") ]]; then
        "${with}_end"
        release_base
        rm -f "$data/with"
    fi
}

# Where the folder was removed under its brokers, as by `cargo clean`, they are found all the same.
sweep_all() { local name; for name in "${more[@]}" "${names[@]}"; do sweep "$name"; done; }

native_stop() { # native_stop NAME...: side by side
    local name stopping=()
    for name; do
        { ask stop "$name" && sweep "$name"; } &
        stopping+=("$!")
    done
    ((${#stopping[@]} == 0)) || wait "${stopping[@]}"
}

native_end() {
    local left
    left=$(marked_in "$data" | tr '\n' ' ')
    [[ -z $left ]] || die "still there: $left"
}

native_clean() { :; } # its data go with the folder

# --- one broker --------------------------------------------------------------------------------------------

is_up() { [[ -n ${with:-} ]] && "${with}_is_up" "$1"; }
native_is_up() { alive "$1"; }
native_kill() { finish "$1" KILL 5; : >"$data/run/$1.pid"; } # it is expected back: its ports stay claimed
native_pause() { kill -STOP "$(pid_of "$1")"; }
native_resume() { kill -CONT "$(pid_of "$1")"; }
native_ctl() { "$1_ctl" "${@:2}"; }

tell() { # tell NAME: its line in `status`
    if ! is_up "$1"; then
        echo "$1: down"
    elif ask ready "$1"; then
        echo "$1: ready, $(ask version "$1") on 127.0.0.1:$(port "$1")$("${with}_details" "$1")"
        return 0
    else
        echo "$1: not ready$("${with}_details" "$1")"
    fi
    return 1
}

native_details() {
    local pid
    pid=$(pid_of "$1")
    echo ", pid $pid, $(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MiB"
}

# default_names NAME...: sets `names_up`; none are the four, and a broker of kafka's cluster needs kafka.
default_names() {
    mapfile -t names_up < <(printf '%s\n' "$@" | awk 'NF && !seen[$0]++')
    (($# > 0)) || names_up=("${names[@]}")
    [[ " $* " != *" kafka"[23]" "* || " $* " == *" kafka "* || $command == status ]] || names_up=(kafka "${names_up[@]}")
}

# --- variables, and a command that has them ----------------------------------------------------------------

print_env() {
    local name certs=$data/certs
    local command=$root/integration-tests/brokers
    echo "export SEAM_TEST_BROKERS=${command@Q}"
    echo "export SEAM_BROKERS_DIR=${data@Q}"
    echo "export SEAM_BROKERS_PROGRAMS=${programs@Q}"
    for name in SEAM_BROKERS_{RABBITMQ,RABBITMQ_CONSUMER_TIMEOUT,MANAGEMENT}; do
        [[ -z ${!name:-} ]] || echo "export $name=${!name@Q}"
    done
    [[ -s $certs/ca.pem ]] || return 0
    echo "export SEAM_TEST_CA_FILE=${certs@Q}/ca.pem"
    echo "export SEAM_TEST_CLIENT_CERT_FILE=${certs@Q}/client.pem SEAM_TEST_CLIENT_KEY_FILE=${certs@Q}/client.key"
    echo "export SEAM_TEST_OTHER_CA_FILE=${certs@Q}/other-ca.pem" # no broker knows this one
    echo "export SEAM_TEST_OTHER_CLIENT_CERT_FILE=${certs@Q}/other-client.pem"
    echo "export SEAM_TEST_OTHER_CLIENT_KEY_FILE=${certs@Q}/other-client.key"
    for name in "${names[@]}" "${more[@]}"; do ! is_up "$name" || ask env "$name"; done
}

# attend COMMAND...: runs it with the variables, and hands on the signals that reach us. Its exit code is ours.
attend() {
    local child code variables reset=
    variables=$(print_env)
    eval "$variables"
    export SEAM_BROKERS_RUN=$data:$$ # as `marked` finds brokers, this finds all that the command has started
    # A shell lets a background command ignore Ctrl-C; this takes that back, where env can.
    ! env --default-signal=INT true 2>/dev/null || reset="env --default-signal=INT,QUIT"
    trap 'hand_on INT' INT
    trap 'hand_on TERM' TERM
    trap 'hand_on HUP' HUP
    # shellcheck disable=SC2086 # words, or none
    $reset "$@" <&0 &
    child=$!
    while :; do
        code=0
        wait "$child" || code=$?
        kill -0 "$child" 2>/dev/null || return "$code" # else the wait ended by a signal
    done
}

hand_on() {
    local pids
    mapfile -t pids < <(grep -slzxF "SEAM_BROKERS_RUN=$SEAM_BROKERS_RUN" /proc/[0-9]*/environ | cut -d/ -f3)
    ((${#pids[@]} == 0)) || kill "-$1" "${pids[@]}" 2>/dev/null || true
}

# --- one command at a time ---------------------------------------------------------------------------------

lock() {
    exec 9>"$data/lock"
    flock -n 9 || { say "waiting for another command of this checkout" && flock 9; }
}

unlock() { exec 9>&-; }
