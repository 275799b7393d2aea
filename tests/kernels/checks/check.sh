# `connscope check` finds every way, and says of what is not there why.
modprobe nf_conntrack
nft add table inet t
nft add chain inet t c '{ type filter hook input priority 0; }'
nft add rule inet t c ct state invalid counter
code=0
connscope check >said 2>&1 || code=$?
sed 's/^/    /' said
same "exit code" 0 $code
for way in command netlink procfs sysctl sock_diag destroy fwmark cgroup process; do
    same "$way" works "$(awk -v way=$way '$2 == way { print $3 }' said)"
done
