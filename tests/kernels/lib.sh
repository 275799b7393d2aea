# What the checks have in common. A check is a file of /checks, run by itself in a network namespace of its own, with
# loopback up, in an empty folder, as root. It says what is right by `same` and its like; whatever is not is printed.
set -e
mount -t proc proc /proc
# The applet of busybox comes before it and knows no namespaces.
ip() { /bin/ip "$@"; }
ip link set lo up

# since VERSION: whether this kernel is that version or a later one.
since() {
    [ "$(printf '%s\n' "$1" "$(uname -r)" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$1" ]
}

# same WHAT EXPECTED GOT
same() {
    if [ "$2" = "$3" ]; then
        echo "ok $1: $3"
    else
        echo "WRONG $1: expected '$2', got '$3'"
    fi
}

# least WHAT EXPECTED GOT: at least that many.
least() {
    if [ "$3" -ge "$2" ]; then
        echo "ok $1: $3, at least $2"
    else
        echo "WRONG $1: expected at least $2, got '$3'"
    fi
}

# between WHAT LOW GOT HIGH
between() {
    if awk -v low="$2" -v got="$3" -v high="$4" 'BEGIN { exit !(got >= low && got <= high && got != "none") }'; then
        echo "ok $1: $3"
    else
        echo "WRONG $1: $3 is not from $2 to $4"
    fi
}

# has WHAT TEXT FILE
has() {
    if grep -qF -- "$2" "$3"; then
        echo "ok $1: says '$2'"
    else
        echo "WRONG $1: expected '$2' in:"
        sed 's/^/    /' "$3"
    fi
}

# until_same WHAT EXPECTED COMMAND...: asks until the answer is this, for 30 s at most.
until_same() {
    local what=$1 expected=$2 tries=60 got
    shift 2
    while got=$("$@") && [ "$got" != "$expected" ] && [ $((tries -= 1)) -gt 0 ]; do sleep 0.5; done
    same "$what" "$expected" "$got"
}

# sum NAME [LABEL="VALUE"...]: of the series in the file `metrics` that have all of the labels; `none` where none has.
sum() {
    local name=$1
    shift
    awk -v name="$name" -v labels="$(printf '%s\n' "$@")" '
        BEGIN { count = split(labels, wanted, "\n") }
        $1 == name || index($1, name "{") == 1 {
            for (at = 1; at <= count; at++) if (wanted[at] != "" && !index($0, wanted[at])) next
            total += $NF; found = 1
        }
        END { print found ? total + 0 : "none" }' metrics
}

# once [YAML]: one cycle with these sources, into the file `metrics`.
once() {
    echo "sources: {$1}" >once.yaml
    connscope once --config once.yaml --format prometheus --log-level warn >metrics 2>once.log ||
        { echo "WRONG once with $1: ended with $?"; sed 's/^/    /' once.log; }
}

# agent YAML: starts the agent with these sources. `scrape NAME [LABEL...]` asks it.
agent() {
    echo "sources: {$1}" >agent.yaml
    connscope run --config agent.yaml --listen 127.0.0.1:9371 --otlp-protocol none --log-level warn >agent.log 2>&1 &
    local tries=60
    until wget -q -O /dev/null http://127.0.0.1:9371/-/healthy 2>/dev/null; do
        [ $((tries -= 1)) -gt 0 ] || { echo "WRONG agent: does not start"; sed 's/^/    /' agent.log; exit 1; }
        sleep 0.5
    done
    scrape up >/dev/null
}
# Emulated, a cycle may take longer than its sources have; with none that answered in time there is no answer.
scrape() {
    local tries=60
    until wget -q -O metrics http://127.0.0.1:9371/metrics 2>/dev/null; do
        if [ $((tries -= 1)) = 0 ]; then
            echo "WRONG agent: does not answer" >&2
            sed 's/^/    /' agent.log >&2
            return 1
        fi
        sleep 0.5
    done
    sum "$@"
}

# peers WORD...: makes sockets (see /peers.pl) and returns when it is done with them. `kill $peers` ends it.
peers() {
    begin_peers "$@"
    peers_say 'done'
}
begin_peers() {
    : >peers.out
    perl /peers.pl "$@" >peers.out 2>peers.log &
    peers=$!
}

# peers_say WORD: waits until it has said this.
peers_say() {
    until grep -q "$1" peers.out; do
        kill -0 $peers 2>/dev/null || { echo "WRONG peers: $(cat peers.log)"; exit 1; }
        sleep 0.2
    done
}

# counted NAME: how often the kernel counted this since it started, in this network namespace.
counted() {
    nstat -asz "$1" | awk 'NR > 1 { print $2 }'
}

# The first argument is the check; what follows it is its own.
. "$1"
