#!/bin/sh
# Makes what compose.yaml mounts as secrets, in the folder `secrets` beside this file or in
# the folder given: a certificate authority, one certificate per service, one API key,
# credentials of the object store and the databases. Never overwrites. Needs OpenSSL 3.
set -eu

target=${1:-$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/secrets}
if [ -e "$target" ]; then
    echo "$target exists: remove it to make everything anew" >&2
    exit 1
fi
umask 077
mkdir -p "$target"
cd "$target"

# Containers read these files as users of their own, so each is readable for everyone;
# the folder is closed instead, and a container sees only the files mounted into it.
publish() {
    chmod 0444 "$@"
}

random() {
    openssl rand -hex 24
}

# The authority. Its key signs further certificates and is mounted nowhere.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 \
    -subj "/CN=Isogloss" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca_key.pem -out ca.pem 2>/dev/null
publish ca.pem

for service in ingest trainer inference; do
    # Add the names under which clients reach the service: DNS:isogloss.example.com
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 \
        -CA ca.pem -CAkey ca_key.pem -subj "/CN=$service" \
        -addext "basicConstraints=critical,CA:FALSE" \
        -addext "extendedKeyUsage=serverAuth" \
        -addext "subjectAltName=DNS:$service,DNS:localhost,IP:127.0.0.1" \
        -keyout "${service}_key.pem" -out "$service.pem" 2>/dev/null
    publish "$service.pem" "${service}_key.pem"
done

# The servers know the sum of the key only. The key itself goes to the caller.
random > api_key
cat > api_keys.toml <<KEYS
[[keys]]
name = "first"
tenant = "default"
role = "admin"
sha256 = "$(tr -d '\n' < api_key | openssl dgst -sha256 -r | cut -d ' ' -f 1)"
KEYS

printf 'isogloss' > store_access_key
random > store_secret_key
random > postgres_password
printf 'whsec_%s' "$(openssl rand -base64 32)" > webhook_secret
for service in ingest trainer; do
    printf 'postgresql://%s:%s@postgres/%s' "$service" "$(random)" "$service" \
        > "${service}_database"
done
publish api_keys.toml store_access_key store_secret_key postgres_password webhook_secret ./*_database

echo "Wrote $target. Callers need api_key and ca.pem."
