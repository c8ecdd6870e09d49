# shellcheck shell=bash
# Which ports a checkout has: a base, and fixed distances from it. Two checkouts have two bases.
#
# A base is one of eleven blocks of 1,000 below the range from which systems take ports for outgoing connections.
# The path of the checkout says where the search begins; a block that is claimed or taken is passed over.

first_base=21000 blocks=11 claims=${TMPDIR:-/tmp}/seam-brokers-$EUID

declare -A distance=(
    [kafka]=92 [kafka2]=192 [kafka3]=292 # each: PLAINTEXT, + 1 SSL, + 2 SASL_PLAINTEXT, + 3 SASL_SSL
    [kafka_controller]=96
    [nsq]=150 [nsq_http]=151 [nsq_https]=152 [lookupd]=160 [lookupd_http]=161
    [rabbitmq_epmd]=369 [sqs]=566
    [rabbitmq_tls]=671 [rabbitmq]=672 [rabbitmq_api]=673 [rabbitmq_nodes]=674 [rabbitmq_tools]=680
)

port() { echo $((base + distance[$1] + ${2:-0})); } # port NAME [MORE]

# claim_base: sets `base`, and keeps it for this checkout until `release_base`. Only while none of its brokers is up.
claim_base() {
    local wanted=${SEAM_BROKERS_PORT_BASE:-} taken try
    mkdir -p "$claims"
    exec 8>"$claims/lock"
    flock 8
    if [[ -n $wanted ]]; then
        if [[ ! $wanted =~ ^[0-9]{4,5}$ ]] || ((wanted < 1024 || wanted > 64000)); then
            die "SEAM_BROKERS_PORT_BASE=$wanted is no port between 1024 and 64000"
        fi
        base=$wanted
        ! claimed_elsewhere || die "port base $base belongs to $(<"$claims/$base")"
        ! taken=$(taken_port) || die "port $taken of base $base is taken"
    elif claimed_here && ! taken_port >/dev/null; then
        : # the last one was stopped to be started again: whoever knows its port shall find it there
    else
        for ((try = 0; try < blocks; try++)); do
            base=$((first_base + 1000 * ((checkout + try) % blocks)))
            if ! claimed_elsewhere && ! taken_port >/dev/null; then break; fi
        done
        ((try < blocks)) || die "no free block of ports from $first_base on; set SEAM_BROKERS_PORT_BASE"
    fi
    echo "$data" >"$claims/$base"
    echo "$base" >"$data/base"
    exec 8>&-
}

release_base() {
    [[ ! -s $data/base ]] || rm -f "$claims/$(<"$data/base")"
    rm -f "$data/base"
}

claimed_here() { [[ -n ${base:-} && -s $claims/$base && $(<"$claims/$base") == "$data" ]]; }

# The claim of another folder holds while a broker of it is up or expected back, or a command is at work there.
claimed_elsewhere() {
    local other
    [[ -s $claims/$base ]] || return 1
    other=$(<"$claims/$base")
    [[ $other != "$data" && -d $other ]] || return 1
    compgen -G "$other/run/*.pid" >/dev/null || ! flock -n "$other/lock" true
}

taken_port() { # prints the first port of `base` that somebody listens on
    local name more
    for name in "${!distance[@]}"; do
        for more in 0 1 2 3; do
            if listening "$(port "$name" "$more")"; then port "$name" "$more" && return; fi
            [[ $name == kafka || $name == kafka[23] ]] || break
        done
    done
    return 1
}
