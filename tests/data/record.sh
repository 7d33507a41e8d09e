#!/bin/sh
# Records web.pcap: real programs (an HTTP server and clients, a name server and a client, ping,
# TCP transfers) talking over a veth pair between two network namespaces of its own.  Needs root, iproute2,
# ethtool, tcpdump, curl, wget, python3; pings where there is ping.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
a=pitot-rec-$$-a
b=pitot-rec-$$-b
work=$(mktemp -d)
pids=

cleanup() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT INT TERM

ip netns add "$a"
ip netns add "$b"
ip link add va netns "$a" type veth peer name vb netns "$b"
for side in a b; do
    eval ns=\$$side
    n=1; [ $side = a ] || n=2
    ip -n "$ns" link set lo up
    ip -n "$ns" link set v$side address 02:00:00:00:00:0$n up
    ip netns exec "$ns" ethtool -K v$side tso off gso off gro off tx off >/dev/null 2>&1 || true
    ip -n "$ns" addr add 192.0.2.$n/24 dev v$side
    ip -n "$ns" addr add 2001:db8::$n/64 dev v$side nodad
done
sleep 1

mkdir "$work/www"
seq 1 400 >"$work/www/numbers.txt"
echo '<html><body><a href="numbers.txt">numbers</a></body></html>' >"$work/www/index.html"
cat >"$work/dns.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 53))
while True:  # answers every question with 192.0.2.2
    q, who = s.recvfrom(1500)
    s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\2", who)
PY
cat >"$work/ask.py" <<'PY'
import socket, sys
for where in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    for name in (b"www", b"mail", b"ns"):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name + b"\7example\3org\0\0\1\0\1", (where, 53))
        s.recvfrom(1500)
PY
ip netns exec "$b" python3 -m http.server --bind :: --directory "$work/www" 80 >/dev/null 2>&1 &
pids="$pids $!"
ip netns exec "$b" python3 "$work/dns.py" &
pids="$pids $!"
sleep 1

# record FILE INTERFACE COMMAND...
record() {
    file=$1 dev=$2
    shift 2
    ip netns exec "$a" tcpdump -q -i "$dev" -s 0 -w "$work/$file" 2>"$work/log" &
    tcpdump=$!
    pids="$pids $tcpdump"
    sleep 1
    "$@"
    sleep 1
    kill -INT $tcpdump
    wait $tcpdump || true
    cp "$work/$file" "$here/$file"
}

in_a() { ip netns exec "$a" "$@" >/dev/null 2>&1; }

talk() { # IPV4 IPV6
    in_a python3 "$work/ask.py" "$1" "$2"
    in_a curl -s -o /dev/null "http://$1/" "http://$1/numbers.txt"
    in_a curl -s -g -o /dev/null "http://[$2]/numbers.txt"
    in_a wget -q -O /dev/null "http://$1/missing" || true
    in_a curl -s -o /dev/null "http://$1:81/" || true # nobody listens: RST
    in_a ping -c 3 -i 0.2 "$1" || true
    in_a ping -c 2 -i 0.2 "$2" || true
    in_a python3 -c "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(4000), ('$1', 9999))"
}

record web.pcap va talk 192.0.2.2 2001:db8::2
