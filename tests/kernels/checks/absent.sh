# Before any module is loaded, and with none to be had: absent, not denied and not broken.
loader=$(cat /proc/sys/kernel/modprobe)
echo /nowhere >/proc/sys/kernel/modprobe
connscope check >said 2>&1 || true
echo "$loader" >/proc/sys/kernel/modprobe
sed 's/^/    /' said
for way in command netlink procfs sysctl sock_diag; do
    same "$way" absent "$(awk -v way=$way '$2 == way { print $3 }' said)"
done
