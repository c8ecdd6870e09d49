# shellcheck shell=bash
# The same brokers in the containers of docker-compose.yml, in a project and on ports of this folder's own.

compose() {
    env COMPOSE_PROFILES='*' \
        SEAM_KAFKA_PORTS="$(port kafka)-$(port kafka 3)" \
        SEAM_KAFKA2_PORTS="$(port kafka2)-$(port kafka2 3)" \
        SEAM_KAFKA3_PORTS="$(port kafka3)-$(port kafka3 3)" \
        SEAM_RABBITMQ_PORT="$(port rabbitmq)" \
        SEAM_RABBITMQ_TLS_PORT="$(port rabbitmq_tls)" \
        SEAM_RABBITMQ_API_PORT="$(port rabbitmq_api)" \
        SEAM_RABBITMQ_ARGUMENTS="$(rabbitmq_arguments)" \
        SEAM_SQS_PORT="$(port sqs)" \
        SEAM_NSQ_PORTS="$(port nsq)-$(port nsq_https)" \
        SEAM_NSQLOOKUPD_PORTS="$(port lookupd)-$(port lookupd_http)" \
        docker compose --project-name "seam-$(cksum <<<"$data" | cut -d' ' -f1)" --file "$root/docker-compose.yml" "$@" 9>&-
}

compose_answers() { has docker && timeout 5 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

compose_version() { # compose_version IMAGE: its tag, up to a dash
    sed -n "s|^ *image: $1:v\{0,1\}\([0-9.]*\).*|\1|p" "$root/docker-compose.yml" | head -n 1
}

# All at once: two commands that work on one project disturb each other.
compose_bring() {
    local name since
    since=$(now)
    for name in $1; do : >"$data/run/$name.pid"; done # they are expected: their ports stay claimed
    # shellcheck disable=SC2086 # a list of names
    compose up --detach --wait $1
    rm -rf "$data/certs"
    compose cp certificates:/tls/. "$data/certs"
    for name in $1; do
        await "$name"
        echo "$name $(ask version "$name") up on 127.0.0.1:$(port "$name") in $(seconds_since "$since") s"
    done
}

compose_failed() { # compose_failed NAMES: as one word
    local -a failed_names
    read -ra failed_names <<<"$1"
    compose logs --tail 20 "${failed_names[@]}" >&2 || true
    say "not all of $1 came up"
    compose_stop "${failed_names[@]}"
}

compose_stop() { # compose_stop NAME...
    local name
    (($# > 0)) || return 0
    compose unpause "$@" >/dev/null 2>&1 || true # a paused one hears nothing
    compose stop "$@" 2>/dev/null || say "Docker could not stop $*"
    for name; do rm -f "$data/run/$name.pid"; done
}

compose_is_up() { [[ -n $(compose ps --quiet --status running --status paused "$1" 2>/dev/null) ]]; }
compose_kill() { compose kill --signal KILL "$1" 2>/dev/null; }
compose_pause() { compose pause "$1" 2>/dev/null; }
compose_resume() { compose unpause "$1" 2>/dev/null; }
compose_ctl() { compose exec -T "$1" "$1ctl" "${@:2}"; } # there is one for rabbitmq alone
compose_details() { echo ", container"; }
compose_end() { compose down 2>/dev/null; }
compose_clean() { compose down --volumes 2>/dev/null; }
