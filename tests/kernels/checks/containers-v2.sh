# In the first namespaces, which taskstats take. Control groups of version 2. What version 1 has had of the memory
# controller it keeps while a page of a group lasts.
if ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
    echo '    version 1 still has the memory controller; CHECKS=containers-v2 begins with it'
    exit 0
fi
roots=/sys/fs/cgroup
. /containers.sh
