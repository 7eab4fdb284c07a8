#!/bin/sh
# Run by the PostgreSQL image once, while its volume is empty: makes one role and one database
# for each service that has one, with the password that stands in the service's own URL.
set -eu

secrets=${1:-/run/secrets}
for service in ingest trainer; do
    url=$(cat "$secrets/${service}_database")
    password=${url#postgresql://*:}
    password=${password%%@*}
    # Through standard input, because a command line can be read by others.
    psql --set=ON_ERROR_STOP=1 --quiet --no-psqlrc --no-password \
        --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<SQL
\set password $password
CREATE ROLE $service LOGIN PASSWORD :'password';
CREATE DATABASE $service OWNER $service;
REVOKE CONNECT ON DATABASE $service FROM PUBLIC;
SQL
done
