#!/bin/sh
# Makes what the nodes share, in secrets/. Run it once and keep a copy where nobody reads it: a log
# whose signing key is lost can sign nothing more. What is there already is never written over.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets

# keep NAME: standard input, unless there is such a secret already. The folder is closed to others;
# the file can be read by the user of the container, into which it alone is mounted.
keep() {
    if [ -e "secrets/$1" ]; then
        echo "secrets/$1 is there already; it stays."
        return
    fi
    cat > "secrets/$1.new"
    chmod 444 "secrets/$1.new"
    mv "secrets/$1.new" "secrets/$1"
    echo "secrets/$1 made."
}

head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' | keep postgres_password
printf 'postgresql://fedcore:%s@postgres:5432/fedcore' "$(cat secrets/postgres_password)" |
    keep database_url
head -c 32 /dev/urandom | base64 | keep secret_key
head -c 32 /dev/urandom | base64 | keep signing_key
