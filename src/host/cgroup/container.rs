//! The container, pod and systemd unit in the path of a control group.
//!
//! No engine documents its paths. These are the forms of Docker, containerd, CRI-O, podman, Kubernetes, ECS, garden,
//! LXC and systemd-nspawn, with either cgroup driver. The monitor process of an engine (`conmon`, `lxc.monitor`) has a
//! cgroup outside of the container.

/// Length of the id of an OCI container: a SHA-256 or as many random bytes, in hexadecimal.
const ID: usize = 64;

/// The id of the container in the path of a cgroup. For LXC and systemd-nspawn, which have no ids, the name as it is in
/// the path (systemd writes `-` as `\x2d`).
///
/// The innermost of nested containers: the process is in that one, and its own telemetry has that `container.id`; if a
/// whole Kubernetes node is a container, the pod is in that one too. The outer container is still in the path.
pub fn container(path: &str) -> Option<&str> {
    let mut found = None;
    let mut above = "";
    for name in path.split('/') {
        found = identified(name).or_else(|| named(above, name)).or(found);
        above = name;
    }
    found
}

/// The UID of the Kubernetes pod in the path of a cgroup: `/kubepods/burstable/podUID/ID`, or with the systemd driver
/// `kubepods-burstable-podUID.slice`, where `_` replaces `-`. The innermost of nested pods.
pub fn pod(path: &str) -> Option<String> {
    path.split('/').rev().find_map(|name| {
        let name = name.split(':').next().unwrap_or(name);
        let uid = match name.strip_suffix(".slice") {
            Some(slice) => {
                slice.starts_with("kubepods").then(|| slice.rsplit_once("-pod"))??.1.replace('_', "-")
            }
            None => name.strip_prefix("pod")?.to_owned(),
        };
        // The UID of a static pod is the hash of its file.
        let known = uid.len() == 36 || uid.len() == 32;
        (known && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
    })
}

/// The id in the name of a cgroup.
fn identified(name: &str) -> Option<&str> {
    // runc creates `kubepods-burstable-podUID.slice:cri-containerd:ID` if the kubelet uses the systemd driver and
    // containerd does not.
    let name = name.rsplit(':').next().unwrap_or(name);
    if is_id(name) || is_ecs(name) || is_garden(name) {
        return Some(name);
    }
    // `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-payload-ID`, `nerdctl-ID.scope`.
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (engine, id) = name.rsplit_once('-')?;
    (is_id(id) && !engine.ends_with("conmon")).then_some(id)
}

/// The name of a container without an id, if the name of the cgroup or of its parent identifies one.
fn named<'a>(above: &str, name: &'a str) -> Option<&'a str> {
    let machine = || {
        let name = name.strip_prefix("machine-")?.strip_suffix(".scope")?;
        // machined registers virtual machines in the same form.
        (!name.starts_with("qemu\\x2d")).then_some(name)
    };
    let nspawn = || name.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let lxc = || match above {
        // LXC up to 3, and LXC 4 and later if it may not create cgroups in the root.
        "lxc" | "lxc.payload" => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    lxc().or_else(machine).or_else(nspawn).filter(|name| !name.is_empty())
}

fn is_id(name: &str) -> bool {
    name.len() == ID && is_hex(name)
}

/// The id of a Fargate task and a number.
fn is_ecs(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && is_hex(task)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The id of Cloud Foundry: a truncated UUID, `6f265890-5165-7fab-6b52-18d1`.
fn is_garden(name: &str) -> bool {
    name.split('-').map(str::len).eq([8, 4, 4, 4, 4]) && name.split('-').all(is_hex)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The systemd unit in the path of a cgroup: the first component below the slices (`sshd.service`, `session-3.scope`,
/// `user@1000.service`, `init.scope`), as in `systemctl status PID`. Units of another systemd, of a user or in a
/// container, are below it and are ignored.
pub fn unit(path: &str) -> Option<&str> {
    let outermost = path.split('/').map(|name| (name, name.rsplit_once('.')));
    let (name, (stem, kind)) = outermost
        .filter(|(name, _)| !matches!(*name, "" | ".."))
        .find(|(_, parts)| parts.is_none_or(|(_, kind)| kind != "slice"))
        .and_then(|(name, parts)| Some((name, parts?)))?;
    let is_unit = !stem.is_empty() && matches!(kind, "service" | "scope" | "socket" | "mount" | "swap");
    // systemd prefixes a name that could be a file of the kernel, such as `memory.service`, with `_`.
    is_unit.then(|| name.strip_prefix('_').unwrap_or(name))
}
