# In the first namespaces, which taskstats take. Control groups of version 2, to which the memory controller comes back
# from version 1 when nobody has that mounted any more.
until_same "the memory controller is there" 1 grep -cw memory /sys/fs/cgroup/cgroup.controllers
roots=/sys/fs/cgroup
. /containers.sh
