#!/usr/bin/env bash
# Starts one Kafka node in the container of docker-compose.yml: the image's own start knows neither keys in PEM
# files nor users for SCRAM. NODE is its number, PORTS the published range (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL).
set -euo pipefail

first=${PORTS%-*} data=/var/lib/kafka/data
name=kafka roles=broker,controller controller=,CONTROLLER://:9190
((NODE == 1)) || name=kafka$NODE roles=broker controller=
{
    cat /seam/server.properties
    cat <<CONF
process.roles=$roles
node.id=$NODE
controller.quorum.voters=1@kafka:9190
inter.broker.listener.name=INTERNAL
listeners=PLAINTEXT://:9092,SSL://:9093,SASL_PLAINTEXT://:9094,SASL_SSL://:9095,INTERNAL://:9191$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$first,SSL://localhost:$((first + 1)),SASL_PLAINTEXT://127.0.0.1:$((first + 2)),SASL_SSL://localhost:$((first + 3)),INTERNAL://$name:9191
ssl.keystore.location=/tls/server-both.pem
ssl.truststore.location=/tls/ca.pem
log.dirs=$data/log
CONF
} >"$data/server.properties"

# Users belong to the cluster, so the node that is its controller brings them.
users=()
((NODE > 1)) || for bits in 256 512; do users+=(--add-scram "SCRAM-SHA-$bits=[name=seam,password=seam]"); done
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id c2VhbS10ZXN0LWthZmthLQ \
    --config "$data/server.properties" "${users[@]}"
exec /opt/kafka/bin/kafka-server-start.sh "$data/server.properties"
