# shellcheck shell=bash
# nsqd, registered with an nsqlookupd beside it.

nsq_version() { sed -n 's|^require github.com/nsqio/nsq v||p' "$parts/nsq/go.mod"; }

nsq_packages() { has go || echo golang-go; }

nsq_install() {
    local bin=$programs/nsq apps=github.com/nsqio/nsq/apps
    stamped "$bin" "$parts/nsq/go.mod" "$parts/nsq/go.sum" && return
    logged env --chdir="$parts/nsq" CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
        go build -trimpath -o "$bin/" $apps/nsqd $apps/nsqlookupd
    stamp "$bin" "$parts/nsq/go.mod" "$parts/nsq/go.sum"
}

nsq_start() {
    mkdir -p "$data/nsq/queues"
    alive nsqlookupd || spawn nsq nsqlookupd "$programs/nsq/nsqlookupd" -log-level=warn -broadcast-address=127.0.0.1 \
        -tcp-address="127.0.0.1:$(port lookupd)" -http-address="127.0.0.1:$(port lookupd_http)"
    # Each message goes to the disk before its OK. So kill -9 loses only what is in flight; by default it loses all.
    spawn nsq nsq "$programs/nsq/nsqd" -log-level=warn -data-path="$data/nsq/queues" -mem-queue-size=0 -sync-every=1 \
        -tcp-address="127.0.0.1:$(port nsq)" -http-address="127.0.0.1:$(port nsq_http)" \
        -https-address="127.0.0.1:$(port nsq_https)" -broadcast-address=127.0.0.1 \
        -lookupd-tcp-address="127.0.0.1:$(port lookupd)" \
        -tls-cert="$data/certs/server.pem" -tls-key="$data/certs/server.key" -tls-min-version=tls1.2
}

nsq_ready() {
    local name
    for name in nsq_http lookupd_http; do
        printf 'GET /ping HTTP/1.0\r\n\r\n' | http_ok "$(port $name)" || return
    done
}

nsq_stop() { finish nsq TERM 10; finish nsqlookupd TERM 2; }

nsq_env() { # TLS is on the same port, once a client asks for it
    echo "export SEAM_TEST_NSQ_URL=127.0.0.1:$(port nsq)"
    echo "export SEAM_TEST_NSQ_HTTP_URL=http://127.0.0.1:$(port nsq_http)"
    echo "export SEAM_TEST_NSQ_HTTPS_URL=https://localhost:$(port nsq_https)"
    echo "export SEAM_TEST_NSQ_LOOKUPD_URL=http://127.0.0.1:$(port lookupd_http)"
}
