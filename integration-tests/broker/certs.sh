#!/bin/sh
# certs.sh FOLDER: certificates for the brokers of the tests, made anew where they are missing or end within a day.
#
#   ca.pem  server.pem  server.key  server-both.pem  client.pem  client.key     of one CA, for localhost
#   other-ca.pem  other-client.pem  other-client.key                            of a CA that no broker knows
#
# Runs in a container of docker-compose.yml too, hence plain sh.
set -eu

folder=$1
if openssl x509 -in "$folder/other-client.pem" -noout -checkend 86400 >/dev/null 2>&1; then exit 0; fi
mkdir -p "$folder"
cd "$folder"
log=making.log
: >"$log"
trap '[ ! -e "$log" ] || cat "$log" >&2' EXIT # it is removed where all went well

# request SUBJECT KEY ARGUMENT...: a new key in KEY, and what `openssl req` makes of it.
request() {
    subject=$1 key=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$subject" -keyout "$key" "$@" 2>>"$log"
}

authority() { # authority NAME SUBJECT
    request "$2" "$1.key" -x509 -days 825 -out "$1.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

certificate() { # certificate NAME SUBJECT AUTHORITY USAGE
    request "$2" "$1.key" -out "$1.csr"
    # The names beside localhost are those of the containers among themselves.
    {
        echo basicConstraints=CA:FALSE
        echo "extendedKeyUsage=$4"
        echo subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,DNS:kafka,DNS:kafka2,DNS:kafka3,DNS:rabbitmq,DNS:sqs,DNS:nsq
    } >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 825 -extfile "$1.ext" \
        -out "$1.pem" 2>>"$log"
}

authority ca "Seam test CA"
certificate server localhost ca serverAuth
certificate client seam ca clientAuth
authority other-ca "another CA"
cat server.key server.pem >server-both.pem
certificate other-client seam other-ca clientAuth # the last one: its presence says that all is there
# Keys of a test, read by brokers that run as users of their own in their containers.
chmod a+r ./*.key ./*.pem
rm -f ./*.csr ./*.ext ./*.srl "$log"
