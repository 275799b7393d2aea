//! What the path of a cgroup says: the container, and the systemd unit.
//!
//! No engine documents its paths; these are the forms that Docker, containerd, CRI-O, podman, Kubernetes, ECS, garden,
//! LXC and systemd-nspawn make, with either cgroup driver. An engine's monitor process (`conmon`, `lxc.monitor`) is not
//! in the container it watches, and has a cgroup of its own.

/// Characters of the id that all engines of the OCI give: a SHA-256 or as many random bytes, in hexadecimal.
const ID: usize = 64;

/// The id of the container in the path of a cgroup; for LXC and systemd-nspawn, which have no ids, its name as it is in
/// the path (systemd writes `-` as `\x2d`).
///
/// Of containers in containers it is the innermost: the process is in that one, and so are the `container.id` its own
/// telemetry carries and the pod it belongs to where a whole Kubernetes node is a container. The outer one is still in
/// the path.
pub fn container(path: &str) -> Option<&str> {
    let mut found = None;
    let mut above = "";
    for name in path.split('/') {
        found = identified(name).or_else(|| named(above, name)).or(found);
        above = name;
    }
    found
}

/// The UID of the Kubernetes pod in the path of a cgroup: `/kubepods/burstable/podUID/ID`, and with the systemd driver
/// `kubepods-burstable-podUID.slice`, where `_` stands for `-`. Of pods in pods it is the innermost.
pub fn pod(path: &str) -> Option<String> {
    path.split('/').rev().find_map(|name| {
        let name = name.split(':').next().unwrap_or(name);
        let uid = match name.strip_suffix(".slice") {
            Some(slice) => {
                slice.starts_with("kubepods").then(|| slice.rsplit_once("-pod"))??.1.replace('_', "-")
            }
            None => name.strip_prefix("pod")?.to_owned(),
        };
        // A static pod has the hash of its file.
        let known = uid.len() == 36 || uid.len() == 32;
        (known && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
    })
}

/// An id, by the form of the cgroup's name alone.
fn identified(name: &str) -> Option<&str> {
    // `kubepods-burstable-podUID.slice:cri-containerd:ID` is what runc makes where the kubelet has the systemd driver
    // and containerd has not.
    let name = name.rsplit(':').next().unwrap_or(name);
    if is_id(name) || is_ecs(name) || is_garden(name) {
        return Some(name);
    }
    // `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-payload-ID`, `nerdctl-ID.scope`.
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (engine, id) = name.rsplit_once('-')?;
    (is_id(id) && !engine.ends_with("conmon")).then_some(id)
}

/// A name, where the cgroup or the one above says that it is one.
fn named<'a>(above: &str, name: &'a str) -> Option<&'a str> {
    let machine = || {
        let name = name.strip_prefix("machine-")?.strip_suffix(".scope")?;
        // machined registers virtual machines in the same way.
        (!name.starts_with("qemu\\x2d")).then_some(name)
    };
    let nspawn = || name.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let lxc = || match above {
        // LXC up to 3, and LXC 4 and later where it may not make cgroups at the top.
        "lxc" | "lxc.payload" => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    lxc().or_else(machine).or_else(nspawn).filter(|name| !name.is_empty())
}

fn is_id(name: &str) -> bool {
    name.len() == ID && is_hex(name)
}

/// Fargate: the task's id and a number.
fn is_ecs(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && is_hex(task)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Cloud Foundry: a UUID that ends early, `6f265890-5165-7fab-6b52-18d1`.
fn is_garden(name: &str) -> bool {
    name.split('-').map(str::len).eq([8, 4, 4, 4, 4]) && name.split('-').all(is_hex)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The systemd unit in the path of a cgroup: what is first below the slices (`sshd.service`, `session-3.scope`,
/// `user@1000.service`, `init.scope`), as `systemctl status PID` has it. A unit of another systemd, one of a user or one
/// in a container, is below and is not meant.
pub fn unit(path: &str) -> Option<&str> {
    let outermost = path.split('/').map(|name| (name, name.rsplit_once('.')));
    let (name, (stem, kind)) = outermost
        .filter(|(name, _)| !matches!(*name, "" | ".."))
        .find(|(_, parts)| parts.is_none_or(|(_, kind)| kind != "slice"))
        .and_then(|(name, parts)| Some((name, parts?)))?;
    let is_unit = !stem.is_empty() && matches!(kind, "service" | "scope" | "socket" | "mount" | "swap");
    // systemd puts `_` before a name that could be taken for a file of the kernel's, such as `memory.service`.
    is_unit.then(|| name.strip_prefix('_').unwrap_or(name))
}
