#!/usr/bin/env bash
# test.sh: what `brokers` promises, tried with all four brokers. Takes about three minutes once programs are installed.
set -euo pipefail

# What is started in the background begins with Ctrl-C ignored, and no shell below it could hear one.
[[ -z $(trap -p INT) ]] || exec env --default-signal=INT "$0" "$@"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
brokers=$here/../brokers
checkout=$(cksum <<<"$(cd "$here/../.." && pwd)" | cut -d' ' -f1)
data=${SEAM_BROKERS_DIR:-${CARGO_TARGET_DIR:-$here/../../target}/brokers/$checkout}
mkdir -p "$data"
data=$(cd "$data" && pwd)
export SEAM_BROKERS_WITH=native # the other one is Docker's
unset SEAM_BROKERS_PROGRAMS
all=(kafka rabbitmq sqs nsq) scratch=$(mktemp -d) failures=0

check() { # check WORDS COMMAND...: tells whether it held
    local words=$1 since=${EPOCHREALTIME//[.,]/} verdict=ok
    shift
    if ! "$@" >"$scratch/out" 2>&1; then
        verdict=FAILED failures=$((failures + 1))
    fi
    printf '%-6s %5d ms  %s\n' "$verdict" $(((${EPOCHREALTIME//[.,]/} - since) / 1000)) "$words"
    [[ $verdict == ok ]] || sed 's/^/       | /' "$scratch/out"
}

ends_with() { # ends_with CODE COMMAND...
    local code=0
    "${@:2}" || code=$?
    [[ $code == "$1" ]] || { echo "ended with $code, not $1" && return 1; }
}

says() { # says PATTERN COMMAND...: in what it prints, whatever its exit code
    local said
    said=$("${@:2}" 2>&1) || true
    [[ $said =~ $1 ]] || { echo "$said" && return 1; }
}

only_programs() { [[ $(ls "$data") == $'lock\nprograms' ]]; }

nothing_left() { # of the brokers of FOLDER
    local left
    left=$(grep -slzF "SEAM_BROKER=$1:" /proc/[0-9]*/environ) || return 0
    echo "$left" && return 1
}

pids() { cat "$data"/run/*.pid; }
one_line_and_2() { ends_with 2 "$brokers" "$@" && [[ $("$brokers" "$@" 2>&1 | wc -l) == 1 ]]; }

same_again() {
    local before
    before=$(pids)
    "$brokers" up && [[ $before == "$(pids)" ]]
}

urls_answer() { # each port that env names is open
    local address
    for address in $("$brokers" env | grep -oE '(localhost|127.0.0.1):[0-9]+'); do
        (exec 3<>"/dev/tcp/127.0.0.1/${address#*:}") || { echo "$address" && return 1; }
    done
}

hangs() { # paused, it is not ready; resumed, it is
    "$brokers" pause "$1" && ends_with 1 "$brokers" status "$1" && "$brokers" resume "$1" && "$brokers" status "$1"
}

dies() { "$brokers" kill "$1" && ends_with 1 "$brokers" status && "$brokers" up "$1" && "$brokers" status; }

# --- RabbitMQ

ctl() { "$brokers" ctl rabbitmq -q "$@"; }

may() { # may USER VHOST CONFIGURE WRITE READ: as regular expressions, each for the whole of what is there
    [[ $(ctl list_permissions -p "$2") =~ (^|$'\n')"$1"$'\t'$3$'\t'$4$'\t'$5($'\n'|$) ]] || { ctl list_permissions -p "$2" && return 1; }
}
users_exist() {
    local user
    for user in seam limited nobody; do ctl authenticate_user "$user" "$user" || return; done
    may seam / '\.\*' '\.\*' '\.\*' && may seam other '\.\*' '\.\*' '\.\*' &&
        may limited / '.*no-write.no-read.*' '.*no-configure.no-read.*' '.*no-configure.no-write.*' &&
        may limited other '\.\*' '.*amq..default.*' '\.\*' &&
        ! says nobody ctl list_permissions -p / >"$scratch/none" && ! says missing ctl list_vhosts >"$scratch/none"
}

# Logs in without a password, by bytes: the header, then start-ok, tune-ok and open of a connection. What shows that it
# was let in is open-ok, of whose method number no other answer has the last byte between two zeros.
by_certificate() { # by_certificate [ARGUMENT...]: of openssl
    local at code=0 client
    local start='\x01\0\0\0\0\0\x1b\0\x0a\0\x0b\0\0\0\0\x08EXTERNAL\0\0\0\0\x05en_US\xce'
    local tune='\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce' open='\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce'
    at=$("$brokers" env | sed -n 's|.*RABBITMQ_TLS_URL=.*@\(.*\)/.*|\1|p')
    coproc timeout 10 openssl s_client -quiet -connect "$at" -CAfile "$data/certs/ca.pem" "$@" 2>/dev/null
    client=$COPROC_PID
    printf '%b' 'AMQP\0\0\x09\x01' "$start" "$tune" "$open" >&"${COPROC[1]}"
    grep -zqxF ')' <&"${COPROC[0]}" || code=1
    kill "$client" 2>/dev/null || true
    wait "$client" || true
    return "$code"
}
login_by_certificate() {
    by_certificate -cert "$data/certs/client.pem" -key "$data/certs/client.key" && ! by_certificate
}

alarms() { # alarms on the whole node
    ctl set_vm_memory_high_watermark absolute 1 && says memory ctl eval 'rabbit_alarm:get_alarms().' &&
        ctl set_vm_memory_high_watermark absolute 1GB && says '^\[\]$' ctl eval 'rabbit_alarm:get_alarms().'
}

rabbitmq4() { # a node that is up is asked by its own programs
    SEAM_BROKERS_RABBITMQ=4 "$brokers" up rabbitmq && ends_with 1 "$brokers" up rabbitmq && (
        says ' 4\.' "$brokers" status rabbitmq && users_exist && login_by_certificate && alarms && ctl_starts_no_epmd
    ) && "$brokers" down rabbitmq && nothing_left "$data"
}

short_timeout() { # of a broker of a test's own
    SEAM_BROKERS_RABBITMQ_CONSUMER_TIMEOUT=5000 "$brokers" up rabbitmq &&
        says '5000' ctl eval 'application:get_env(rabbit, consumer_timeout).'
}

# The tools start an epmd where they meet none, as while a node stops, unless they are kept from it.
ctl_starts_no_epmd() {
    local pid
    kill "$(cut -d' ' -f1 "$data/run/epmd.pid")"
    ctl list_queues || true
    while IFS= read -r pid; do
        [[ $(<"/proc/$pid/comm") != epmd ]] || { ps -f -p "$pid" && return 1; }
    done < <(grep -slzxF "SEAM_BROKER=$data:rabbitmq" /proc/[0-9]*/environ | cut -d/ -f3)
}

down_while_ctl_asks() {
    local moment asking=()
    for moment in 0 0.4 0.8 1.2; do
        { sleep "$moment"; ctl list_queues || true; } &
        asking+=("$!")
    done
    "$brokers" down rabbitmq && wait "${asking[@]}" && nothing_left "$data"
}

# A copy of the files elsewhere, with the installed programs of this one.
second_checkout() {
    mkdir -p "$scratch/second/integration-tests" "$scratch/data"
    cp -r "$here" "$here/../brokers" "$scratch/second/integration-tests/"
}
second() {
    SEAM_BROKERS_DIR=$scratch/data SEAM_BROKERS_PROGRAMS=$data/programs SEAM_BROKERS_PORT_BASE='' \
        "$scratch/second/integration-tests/brokers" "$@"
}
beside() { second up && [[ $(<"$scratch/data/base") != "$(<"$data/base")" ]] && "$brokers" status && second status; }

# As Ctrl-C at a terminal does: the signal goes to the group in the foreground. `up` then ends with 130.
interrupt_up_after() {
    local up code=0
    set -m
    "$brokers" up &
    up=$!
    set +m
    sleep "$1"
    kill -INT -- "-$up"
    wait "$up" || code=$?
    [[ $code == 130 ]] && nothing_left "$data"
}

gone() { # gone PID: within a second or two
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    ps -f -p "$1" && return 1
}

# The signal goes to `run` alone, as from a CI that cancels; to the whole group, as Ctrl-C does, with "group".
run_ends_by() { # run_ends_by SIGNAL [group]
    local run code=0 told=$scratch/command
    rm -f "$told"
    set -m
    "$brokers" run nsq -- bash -c "bash -c 'echo \$\$ >$told; exec sleep 1000'; true" &
    run=$!
    set +m
    until [[ -s $told ]]; do sleep 0.1; done
    if [[ ${2:-} == group ]]; then kill "-$1" -- "-$run"; else kill "-$1" "$run"; fi
    wait "$run" || code=$?
    ((code > 128)) || { echo "ended with $code" && return 1; }
    nothing_left "$data" && gone "$(<"$told")"
}

# shellcheck disable=SC2016 # for the command's shell
run_has_variables() { "$brokers" run nsq -- bash -c 'curl -fs "$SEAM_TEST_NSQ_HTTP_URL/ping"'; }
run_leaves_others() { "$brokers" up nsq && "$brokers" run nsq sqs -- true && "$brokers" status nsq && ends_with 1 "$brokers" status sqs; }

survives_cargo_clean() {
    "$brokers" up nsq && rm -r "$data"/{run,base,with,nsq} && "$brokers" up nsq nsq && rm -r "$data"/{run,base,with,nsq}
}

# What `brokers` asks of Docker, answered by a stand-in that has processes instead of containers.
stand_in() {
    mkdir -p "$scratch"/{bin,inside,tmp}
    ln -sfn "$data/programs" "$scratch/inside/programs"
    cat >"$scratch/bin/docker" <<DOCKER
#!/usr/bin/env bash
set -euo pipefail
echo "\$*" >>"$scratch/asked"
[[ \$1 == compose && \$2 != version ]] || exit 0
shift 5 # compose --project-name NAME --file FILE
inside() {
    SEAM_BROKERS_WITH=native SEAM_BROKERS_DIR=$scratch/inside TMPDIR=$scratch/tmp \\
        SEAM_BROKERS_PORT_BASE=\$((\${SEAM_NSQ_PORTS%-*} - 150)) "$brokers" "\$@"
}
case \$1 in
    up) [[ \$* != *rabbitmq* ]] && inside up "\${@:4}" ;;
    ps) [[ ! -s $scratch/inside/run/\${*: -1}.pid ]] || echo 1234 ;;
    cp) cp -r "$scratch/inside/certs" "\$3" ;;
    stop) inside down "\${@:2}" ;;
    kill) inside kill "\$4" ;;
    pause) inside pause "\$2" ;;
    unpause) inside resume "\$2" ;;
    down) inside down ;;
    exec) [[ \$* != *fail* ]] ;;
esac
DOCKER
    chmod +x "$scratch/bin/docker"
}

contained() { PATH=$scratch/bin:$PATH SEAM_BROKERS_WITH='' SEAM_BROKERS_DIR=$scratch/compose "$brokers" "$@"; }

contained_ctl() { # as if it were up
    echo 1234 >"$scratch/inside/run/rabbitmq.pid"
    contained ctl rabbitmq status && ends_with 1 contained ctl rabbitmq fail || return
    rm "$scratch/inside/run/rabbitmq.pid"
    says "exec -T rabbitmq rabbitmqctl status" cat "$scratch/asked"
}

as_containers() {
    contained up nsq && contained status nsq && says "SEAM_TEST_NSQ_URL=" contained env &&
        contained kill nsq && ends_with 1 contained status nsq && contained up nsq &&
        contained pause nsq && ends_with 1 contained status nsq && contained resume nsq && contained status nsq &&
        contained restart nsq && contained run nsq -- true && contained status nsq && contained_ctl && contained clean &&
        ends_with 1 contained run nsq rabbitmq -- true && ends_with 1 contained ctl rabbitmq status && says "^rabbitmq: down" contained status rabbitmq &&
        nothing_left "$scratch/inside" && says "up --detach --wait nsq" cat "$scratch/asked"
}

cleanup() {
    "$brokers" down || true
    second down || true
    contained down || true
    rm -rf "$scratch"
}

[[ -z $(find "$data/run" -name '*.pid' 2>/dev/null) ]] || { echo "brokers are up: take them down first" >&2 && exit 2; }
second_checkout
stand_in
trap cleanup EXIT

check "wrong usage: no command" one_line_and_2
check "wrong usage: no such command" one_line_and_2 start
check "wrong usage: no such broker" one_line_and_2 up kafka9
check "wrong usage: restart without a name" one_line_and_2 restart
check "wrong usage: run without a command" one_line_and_2 run nsq --
check "wrong usage: ctl without anything to do" one_line_and_2 ctl rabbitmq
check "wrong usage: ctl of a broker that has none" one_line_and_2 ctl nsq status
check "wrong usage: no number of milliseconds" env SEAM_BROKERS_RABBITMQ_CONSUMER_TIMEOUT=5s \
    bash -c "$(declare -f ends_with one_line_and_2); brokers=$brokers; one_line_and_2 up rabbitmq"
check "up" "$brokers" up
sed 's/^/                 /' "$scratch/out"
check "up again changes nothing" same_again
check "status ends with 0" "$brokers" status
check "every address of env answers" urls_answer
check "rabbitmq: users and their rights" users_exist
check "rabbitmq: the tests' certificate is a login, none is not" login_by_certificate
check "rabbitmq: ctl sets and clears an alarm" alarms
check "rabbitmq: ctl ends with the code of rabbitmqctl" ends_with 64 ctl nonsense
check "rabbitmq: ctl starts no epmd" ctl_starts_no_epmd
for name in "${all[@]}"; do check "kill -9 and up: $name" dies "$name"; done
for name in "${all[@]}"; do check "pause and resume: $name" hangs "$name"; done
for name in "${all[@]}"; do check "restart $name" "$brokers" restart "$name"; done
check "a second checkout beside it" beside
check "a base that is taken is refused" says "base .* (belongs to|is taken)" \
    env SEAM_BROKERS_DIR="$scratch/third" SEAM_BROKERS_PORT_BASE="$(<"$data/base")" "$brokers" up nsq
check "down of the second" second down
check "it leaves nothing" nothing_left "$scratch/data"
check "and the first alone" "$brokers" status
check "kafka2 and kafka3 join" "$brokers" up kafka2 kafka3
check "down" "$brokers" down
check "it leaves nothing" nothing_left "$data"
check "status ends with 1" ends_with 1 "$brokers" status
for moment in 0.05 0.5 1.5 3; do check "Ctrl-C $moment s after up" interrupt_up_after "$moment"; done
check "a broker that does not become ready shows its log" says "nsq is not ready after 0 s" env SEAM_BROKERS_TIMEOUT=0 "$brokers" up nsq
check "and is gone" nothing_left "$data"
check "run: the exit code is the command's" ends_with 7 "$brokers" run nsq -- sh -c 'exit 7'
check "run leaves nothing" nothing_left "$data"
check "run: its command finds the broker" run_has_variables
check "run, terminated: neither broker nor command is left" run_ends_by TERM
check "run, Ctrl-C: neither broker nor command is left" run_ends_by INT group
check "run leaves alone what was up before" run_leaves_others
check "rabbitmq: a short timeout of deliveries" short_timeout
check "rabbitmq: down while ctl asks" down_while_ctl_asks
check "rabbitmq: ctl of a broker that is down" ends_with 1 ctl list_queues
check "RabbitMQ 4: all of this" rabbitmq4
check "compose, as far as a stand-in for Docker goes: nsq" as_containers
check "up again, after the folder was removed under its brokers" survives_cargo_clean
check "down of what is left" "$brokers" down
check "it leaves nothing" nothing_left "$data"
check "clean" "$brokers" clean
check "it leaves only programs" only_programs

((failures == 0)) || { echo "$failures failed" && exit 1; }
