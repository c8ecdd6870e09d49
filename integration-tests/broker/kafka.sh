# shellcheck shell=bash
# Kafka in KRaft mode. `kafka` is broker and controller, `kafka2` and `kafka3` are brokers of the same cluster.

kafka_version() { sed -n '/kafka_2/{n;s/.*<version>\(.*\)<.*/\1/p}' "$parts/kafka/pom.xml"; }

kafka_packages() {
    has java || echo default-jre-headless
    has mvn || echo maven
    has kcat || echo kcat # a foreign client, for the tests
}

kafka_install() {
    local jars=$programs/kafka
    stamped "$jars" "$parts/kafka/pom.xml" && return
    rm -rf "$jars"
    logged mvn -B -q -f "$parts/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"
    stamp "$jars" "$parts/kafka/pom.xml"
}

kafka_start() {
    local node users=() bits config=$data/$1/server.properties
    node=$(kafka_node "$1")
    mkdir -p "$data/$1/unpacked"
    { cat "$parts/kafka/server.properties" && kafka_settings "$1" "$node"; } >"$config"
    # Users belong to the cluster, so the node that is its controller brings them.
    ((node > 1)) || for bits in 256 512; do users+=(--add-scram "SCRAM-SHA-$bits=[name=seam,password=seam]"); done
    # The id is that of the cluster: 16 bytes in base64. The compression codecs unpack their libraries into tmpdir.
    local java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xms64m -Xmx256m
        "-Djava.io.tmpdir=$data/$1/unpacked" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$programs/kafka/*")
    if [[ ! -s $data/$1/log/meta.properties ]]; then
        rm -rf "$data/$1/log" # half made, where that was interrupted
        logged "${java[@]}" kafka.tools.StorageTool format \
            --cluster-id c2VhbS10ZXN0LWthZmthLQ --config "$config" "${users[@]}"
    fi
    spawn "$1" "$1" "${java[@]}" kafka.Kafka "$config"
}

kafka_settings() { # kafka_settings NAME NODE: what only this node has
    local plain ssl sasl sasl_ssl roles=broker controller=
    plain=127.0.0.1:$(port "$1") ssl=$(port "$1" 1) sasl=127.0.0.1:$(port "$1" 2) sasl_ssl=$(port "$1" 3)
    (($2 > 1)) || roles=broker,controller controller=,CONTROLLER://127.0.0.1:$(port kafka_controller)
    cat <<CONF
process.roles=$roles
node.id=$2
controller.quorum.voters=1@127.0.0.1:$(port kafka_controller)
listeners=PLAINTEXT://$plain,SSL://127.0.0.1:$ssl,SASL_PLAINTEXT://$sasl,SASL_SSL://127.0.0.1:$sasl_ssl$controller
advertised.listeners=PLAINTEXT://$plain,SSL://localhost:$ssl,SASL_PLAINTEXT://$sasl,SASL_SSL://localhost:$sasl_ssl
ssl.keystore.location=$data/certs/server-both.pem
ssl.truststore.location=$data/certs/ca.pem
log.dirs=$data/$1/log
CONF
}

kafka_node() { local node=${1#kafka}; echo "${node:-1}"; }

# A broker that is registered still makes its first client wait for seconds. So it is asked what that client needs:
# the coordinators of groups and of transactions (FindCoordinator, which creates their internal topics), and a
# producer id, which the controller gives. Written as bytes, since a machine need not have any client.
kafka_ready() {
    local find='\x00\x00\x00\x0e\x00\x0a\x00\x01\x00\x00\x00\x01\xff\xff\x00\x01s' at
    at=$(port "$1")
    kafka_answers "$at" "$find\x00" && kafka_answers "$at" "$find\x01" &&
        kafka_answers "$at" '\x00\x00\x00\x10\x00\x16\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x27\x10'
}

kafka_answers() { # kafka_answers PORT REQUEST: with error code 0, which is bytes 12 and 13 of these replies
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf '%b' "$2" >&3
        [[ $(timeout "$((patience < 5 ? patience : 5))" head -c 14 <&3 | od -An -v -tx1 -j 12) == ' 00 00' ]]
    ) 2>/dev/null
}

kafka_stop() { finish "$1" TERM 15; }

kafka_env() {
    local variable=SEAM_TEST_${1^^}
    echo "export ${variable}_URL=127.0.0.1:$(port "$1")"
    echo "export ${variable}_TLS_URL=localhost:$(port "$1" 1)"
    echo "export ${variable}_SASL_URL=127.0.0.1:$(port "$1" 2)"
    echo "export ${variable}_SASL_TLS_URL=localhost:$(port "$1" 3)"
}
