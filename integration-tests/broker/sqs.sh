# shellcheck shell=bash
# LocalStack, of which only SQS is installed and started. It keeps nothing across a restart.

sqs_version() { sed -n 's/^localstack-core==//p' "$parts/sqs/requirements.txt"; }

sqs_packages() { python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv; }

sqs_install() {
    local venv=$programs/sqs
    stamped "$venv" "$parts/sqs/requirements.txt" && return
    rm -rf "$venv"
    logged python3 -m venv "$venv"
    logged "$venv/bin/python" -m pip install -q --disable-pip-version-check uv==0.13.9 # 13 s with it, 57 s without
    logged "$venv/bin/uv" pip install -q --python "$venv/bin/python" -r "$parts/sqs/requirements.txt"
    stamp "$venv" "$parts/sqs/requirements.txt"
}

sqs_start() {
    local at
    at=127.0.0.1:$(port sqs)
    mkdir -p "$data/sqs"
    (
        export SERVICES=sqs EAGER_SERVICE_LOADING=1 STRICT_SERVICE_LOADING=1
        # With the default strategy queue URLs have host names that do not resolve everywhere.
        export GATEWAY_LISTEN=$at LOCALSTACK_HOST=$at SQS_ENDPOINT_STRATEGY=path
        # Where it believes to be in a container it writes to the system's folders.
        export FILESYSTEM_ROOT=$data/sqs/files XDG_CACHE_HOME=$data/sqs/cache OVERRIDE_IN_DOCKER=0
        export SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 DNS_ADDRESS=0 # no call to the outside, no DNS server
        export CUSTOM_SSL_CERT_PATH=$data/certs/server-both.pem        # one port speaks http and https
        export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
        spawn sqs sqs "$programs/sqs/bin/python" -W ignore "$parts/sqs/run.py"
    )
}

# Its own health page says "running" too early: the first request in a new folder still builds a catalogue (5 s).
sqs_ready() {
    {
        printf '%s\r\n' 'POST / HTTP/1.0' 'Host: localhost' 'Content-Type: application/x-amz-json-1.0' \
            'X-Amz-Target: AmazonSQS.ListQueues' 'Content-Length: 2' \
            'Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request' ''
        printf '{}'
    } | http_ok "$(port sqs)"
}

sqs_stop() { finish sqs TERM 2; } # there is nothing that it could save

sqs_env() {
    echo "export SEAM_TEST_SQS_URL=http://127.0.0.1:$(port sqs)"
    echo "export SEAM_TEST_SQS_TLS_URL=https://localhost:$(port sqs)"
    echo "export SEAM_TEST_SQS_REGION=us-east-1"
}
