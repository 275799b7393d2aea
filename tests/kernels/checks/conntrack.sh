# Each way of reading the connection tracking statistics says what `conntrack -S` says, of every possible CPU.
sysctl -q -w net.netfilter.nf_conntrack_tcp_loose=0 || true
nft -f - <<'RULES'
table inet t {
    chain c { type filter hook input priority 0; ct state invalid counter; }
    chain n { type nat hook postrouting priority srcnat; udp dport 9000 snat ip to 127.0.0.1:7000-7001; }
}
RULES
# Entries by user space, packets that are too short for TCP, errors that belong to nothing, ports that run out.
conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 100 >/dev/null 2>&1
perl -MSocket -e '
    socket(my $tcp, PF_INET, SOCK_RAW, 6) or die; socket(my $icmp, PF_INET, SOCK_RAW, 1) or die;
    my $to = pack_sockaddr_in(0, inet_aton("127.0.0.1"));
    send($tcp, "abcd", 0, $to) for 1 .. 3;
    my $inner = pack("CCnnnCCna4a4", 0x45, 0, 28, 1, 0, 64, 17, 0, inet_aton("127.0.0.1"), inet_aton("127.0.0.1"))
        . pack("nnnn", 4, 5, 8, 0);
    my $error = pack("CCnN", 3, 1, 0, 0) . $inner;
    my $sum = 0; $sum += $_ for unpack("n*", $error); $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr($error, 2, 2) = pack("n", ~$sum & 0xffff);
    send($icmp, $error, 0, $to) for 1 .. 2;
    for (1 .. 6) { socket(my $udp, PF_INET, SOCK_DGRAM, 0) or die;
        send($udp, "x", 0, pack_sockaddr_in(9000, inet_aton("127.0.0.1"))); push @kept, $udp }'
conntrack -S >tool 2>tool.log
sed 's/^/    /' tool
same "rows of the tool, one for each possible CPU" $(($(sed 's/.*-//' /sys/devices/system/cpu/possible) + 1)) "$(wc -l <tool)"

for way in command netlink procfs; do
    once "conntrack: {via: $way, cpu: each}, sockets: {enabled: false}"
    same "$way: the way" 1 "$(sum connscope_conntrack_source "via=\"$way\"")"
    # As the tool writes it. It has no expectations; nothing else may be there that it does not print.
    sed -n 's/^conntrack_\([a-z_]*\)_total{cpu="\([0-9]*\)"} \([0-9]*\)$/\2 \1=\3/p' metrics | grep -v ' expect_' | sort >got
    awk '{ sub("cpu=", "", $1); for (at = 2; at <= NF; at++) print $1, $at }' tool | sort >expected
    if cmp -s expected got; then
        echo "ok $way: $(wc -l <got) counters as the tool says"
    else
        echo "WRONG $way: expected the lines with -, got those with +"
        diff -U 0 expected got | sed 's/^/    /'
    fi
    same "$way: entries" "$(conntrack -C)" "$(sum conntrack_table_usage)"
    same "$way: limit" "$(cat /proc/sys/net/netfilter/nf_conntrack_max)" "$(sum conntrack_table_limit)"
    same "$way: buckets" "$(cat /proc/sys/net/netfilter/nf_conntrack_buckets)" "$(sum conntrack_table_buckets)"
done
since 5.15 || same "chaintoolong, which comes with 5.15" none "$(sum conntrack_chaintoolong_total)"
# The figures above are not all zeros.
for field in insert invalid error found; do least "$field moved" 1 "$(sum "conntrack_${field}_total")"; done
