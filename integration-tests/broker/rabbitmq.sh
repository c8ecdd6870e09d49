# shellcheck shell=bash
# RabbitMQ: the system's package by default, or 4 (SEAM_BROKERS_RABBITMQ=4), unpacked beside it.

# The folder of its programs, or nothing where they are the system's: of the node that is up, else of the wanted one.
rabbitmq_root() { if alive rabbitmq; then cat "$data/run/rabbitmq.root"; else rabbitmq_wanted; fi; }
rabbitmq_wanted() { [[ ${SEAM_BROKERS_RABBITMQ:-} != 4* ]] || echo "$programs/rabbitmq4"; }
rabbitmq_bin() { echo "$(rabbitmq_root)/usr/lib/rabbitmq/bin"; }
rabbitmq_data() { if [[ -n $(rabbitmq_root) ]]; then echo "$data/rabbitmq4"; else echo "$data/rabbitmq"; fi; } # not compatible

rabbitmq_version() { # from the name of a folder or a file of its own: the programs that could tell take a second
    local found
    if [[ ${with:-} == compose ]]; then compose_version rabbitmq && return; fi
    for found in "$(rabbitmq_root)"/usr/lib/rabbitmq/lib/rabbitmq_server-*; do echo "${found##*-}"; done
}

rabbitmq_as_wanted() {
    ! alive rabbitmq || [[ $(rabbitmq_root) == "$(rabbitmq_wanted)" ]] || die "rabbitmq $(rabbitmq_version) is up: take it down first"
}

rabbitmq_packages() {
    if [[ -z $(rabbitmq_root) ]]; then
        [[ -x $(rabbitmq_bin)/rabbitmq-server ]] || echo rabbitmq-server
    else
        has patchelf || echo patchelf
    fi
}

rabbitmq_install() {
    local root unpack=$parts/rabbitmq/unpack.sh
    root=$(rabbitmq_root)
    if [[ -z $root ]] || stamped "$root" "$unpack"; then return; fi
    rm -rf "$root"
    logged bash "$unpack" "$root"
    stamp "$root" "$unpack"
}

rabbitmq_start() {
    local root folder
    root=$(rabbitmq_root) folder=$(rabbitmq_data)
    rabbitmq_configure "$folder"
    echo "$root" >"$data/run/rabbitmq.root"
    # Started here, since the one that a node starts by itself listens everywhere and stays when the node ends.
    alive epmd || spawn rabbitmq epmd "$root/usr/bin/epmd" -port "$(port rabbitmq_epmd)" -address 127.0.0.1
    (
        rabbitmq_environment "$root" "$folder"
        # /usr/sbin/rabbitmq-server would change the user, and with it HOME and the folder.
        spawn rabbitmq rabbitmq "$(rabbitmq_bin)/rabbitmq-server"
    )
}

rabbitmq_configure() {
    mkdir -p "$1"/{home,mnesia,log,generated}
    : >"$1/rabbitmq-env.conf"
    cat "$parts/rabbitmq/rabbitmq.conf" - >"$1/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$(port rabbitmq)
listeners.ssl.1 = 127.0.0.1:$(port rabbitmq_tls)
ssl_options.cacertfile = $data/certs/ca.pem
ssl_options.certfile = $data/certs/server.pem
ssl_options.keyfile = $data/certs/server.key
load_definitions = $parts/rabbitmq/definitions.json
log.console = false
CONF
    local plugins=rabbitmq_auth_mechanism_ssl
    if [[ ${SEAM_BROKERS_MANAGEMENT:-} == 1 ]]; then # by request, since each stop then takes 5 s longer
        plugins+=,rabbitmq_management
        printf '%s\n' 'management.tcp.ip = 127.0.0.1' "management.tcp.port = $(port rabbitmq_api)" >>"$1/rabbitmq.conf"
    fi
    echo "[$plugins]." >"$1/enabled_plugins"
}

rabbitmq_environment() { # rabbitmq_environment ROOT FOLDER: for the node and for rabbitmqctl; nothing from /etc
    export HOME=$2/home PATH=$1/usr/lib/erlang/bin:$PATH # the cookie lies in HOME
    export RABBITMQ_CONF_ENV_FILE=$2/rabbitmq-env.conf RABBITMQ_CONFIG_FILE=$2/rabbitmq.conf
    export RABBITMQ_ENABLED_PLUGINS_FILE=$2/enabled_plugins RABBITMQ_GENERATED_CONFIG_DIR=$2/generated
    export RABBITMQ_MNESIA_BASE=$2/mnesia RABBITMQ_LOG_BASE=$2/log
    export RABBITMQ_NODENAME=seam@localhost # resolves everywhere; each checkout has an epmd of its own
    export RABBITMQ_DIST_PORT RABBITMQ_CTL_DIST_PORT_MIN RABBITMQ_CTL_DIST_PORT_MAX ERL_EPMD_PORT
    RABBITMQ_DIST_PORT=$(port rabbitmq_nodes) ERL_EPMD_PORT=$(port rabbitmq_epmd)
    RABBITMQ_CTL_DIST_PORT_MIN=$(port rabbitmq_tools) RABBITMQ_CTL_DIST_PORT_MAX=$(port rabbitmq_tools 10)
    export ERL_EPMD_ADDRESS=127.0.0.1
    # Else the node and the tools start an epmd by themselves where they meet none, and it stays.
    export ERL_AFLAGS='-start_epmd false'
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} $(rabbitmq_arguments)"
    # With input "allowed" the start script becomes the node instead of waiting for it, so its pid is the node's.
    export RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_START_ARGS=-noinput
}

# For Erlang, natively and in a container: what a test has chosen for a broker of its own.
rabbitmq_arguments() {
    local timeout=${SEAM_BROKERS_RABBITMQ_CONSUMER_TIMEOUT:-}
    # By default a channel looks once a minute whether the time is over.
    [[ -z $timeout ]] || echo "-rabbit consumer_timeout $timeout -rabbit channel_tick_interval 1000"
}

rabbitmq_ctl() {
    rabbitmq_environment "$(rabbitmq_root)" "$(rabbitmq_data)"
    exec env "$(mark rabbitmq)" "$(rabbitmq_bin)/rabbitmqctl" "$@"
}

# It answers the header of AMQP 0-9-1 with a method frame, type 1. Listeners are the last step of its boot, TLS last.
rabbitmq_ready() {
    listening "$(port rabbitmq_tls)" && (
        exec 3<>"/dev/tcp/127.0.0.1/$(port rabbitmq)" || exit 1
        printf 'AMQP\0\0\011\001' >&3
        LC_ALL=C IFS= read -r -N 1 -t "$patience" -u 3 type && [[ $type == $'\001' ]]
    ) 2>/dev/null
}

rabbitmq_stop() { finish rabbitmq TERM 20; finish epmd TERM 2; }

rabbitmq_env() {
    echo "export SEAM_TEST_RABBITMQ_URL=amqp://seam:seam@127.0.0.1:$(port rabbitmq)/%2f"
    echo "export SEAM_TEST_RABBITMQ_TLS_URL=amqps://seam:seam@localhost:$(port rabbitmq_tls)/%2f"
    ! listening "$(port rabbitmq_api)" ||
        echo "export SEAM_TEST_RABBITMQ_API=http://seam:seam@127.0.0.1:$(port rabbitmq_api)"
}
