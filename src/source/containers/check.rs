//! What `connscope check` says of the containers: which there are, and where their names can be read.

use super::NAME;
use super::config::tcp::{Latency, Tcp};
use super::config::{Containers as Settings, Delay, Oom};
use super::connections::sees_all_processes;
use super::kernel::{DENY, Kernel, TCP};
use super::programs::own_netns;
use super::resources::{self, ResourceKinds};
use super::{delay, latency, oom, procfs, programs, translate, volumes};
use crate::host::bpf;
use crate::host::inventory::Inventory;
use crate::netlink::Client;
use crate::reading::{SourceError, chain};
use crate::source::{Check, Requirement};
use std::net::Ipv4Addr;
use std::time::Instant;

/// The way that everything rests on.
const CGROUP: &str = "cgroup";
/// The two ways to read TCP: programs in the kernel, and what is left without them.
const TCP_WAY: &str = "tcp";
const PROCFS: &str = "procfs";

/// Capabilities, files and kernel release that each part of the source needs.
pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        files: &["/sys/fs/cgroup", "/proc/PID/stat"],
        ..Requirement::of("containers, services, restarts, and the names of the kubelet")
    },
    Requirement { files: &["/sys/fs/cgroup", "/sys/dev/block"], ..Requirement::of("resources and pressure") },
    Requirement {
        capabilities: &["CAP_SYS_PTRACE"],
        files: &["/proc/PID/mountinfo", "/proc/PID/root", "/sys/dev/block"],
        ..Requirement::of("volumes: sizes of what is mounted in containers")
    },
    Requirement {
        capabilities: &["CAP_DAC_READ_SEARCH"],
        files: &["/var/lib/docker", "/run/containerd", "/run/containers/storage"],
        ..Requirement::of("names of Docker, containerd, CRI-O and podman")
    },
    Requirement {
        capabilities: &["CAP_BPF", "CAP_PERFMON"],
        files: &["/sys/kernel/btf/vmlinux", "/proc/PID/net/fib_trie", "/proc/PID/net/if_inet6"],
        kernel: "5.11",
        ..Requirement::of("tcp: connections by destination, and listening sockets")
    },
    Requirement {
        capabilities: &["CAP_BPF", "CAP_PERFMON"],
        files: &["/sys/kernel/btf/vmlinux"],
        kernel: "5.13",
        ..Requirement::of("delay and oom by programs in the kernel; delay in the host's pid namespace")
    },
    Requirement {
        capabilities: &["CAP_NET_ADMIN"],
        address_families: &["AF_NETLINK"],
        ..Requirement::of("delay by taskstats, in the first user and pid namespaces")
    },
    Requirement {
        capabilities: &["CAP_NET_ADMIN"],
        address_families: &["AF_NETLINK"],
        ..Requirement::of("tcp.translate: destinations behind NAT, in the host's network namespace")
    },
    Requirement {
        capabilities: &["CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_SYS_PTRACE"],
        files: &["/proc/PID/ns/net", "/proc/PID/net/tcp"],
        ..Requirement::of("tcp.latency: icmp, echoes from the network namespaces of containers")
    },
    Requirement {
        files: &["/proc/PID/net/tcp", "/proc/PID/net/tcp6"],
        ..Requirement::of("tcp: open connections and listening sockets where programs cannot be loaded")
    },
];

/// Looks at the control groups, and at the directories that names are read from; loads the programs and asks conntrack.
pub(super) fn check(settings: &Settings, inventory: &Inventory, now: Instant) -> Vec<Check> {
    let cgroups = inventory.refresh().map(|()| {
        let tally = inventory.tally();
        let beside = tally.hierarchies.join(" and ");
        let left_out = match tally.groups_left_out {
            0 => String::new(),
            left_out => format!("; {left_out} control groups were not read"),
        };
        let over = match tally.over_limit {
            0 => String::new(),
            over => {
                format!("; {over} more are left out: raise inventory.limit, {}", inventory.settings().limit)
            }
        };
        format!("{beside}; {} containers, {} units{over}{left_out}", tally.containers, tally.units)
    });
    let mut checks = vec![Check::new(NAME, CGROUP, cgroups), Check::new(NAME, "names", names(inventory))];
    let loaded = own_netns().and_then(|netns| Kernel::load(&programs::wanted(settings, netns)));
    let mut loaded = loaded.map(|(kernel, _, _)| kernel);
    if programs::is_wanted(settings) {
        checks.push(Check::new(NAME, "btf", bpf::btf()));
    }
    if settings.tcp.enabled {
        let tcp = tcp(&settings.tcp, &mut loaded);
        let counted = tcp.iter().any(|check| check.via == TCP_WAY && check.works());
        checks.extend(tcp);
        if settings.tcp.latency == Latency::Icmp {
            checks.push(Check::new(NAME, "icmp", latency::check(&inventory.containers())));
        }
        if !counted {
            checks.push(Check::new(NAME, PROCFS, procfs::check(&inventory.containers())));
        }
    }
    let kernel = loaded.as_ref();
    if settings.delay != Delay::Off {
        checks.push(Check::new(NAME, "delay", delay::check(settings.delay, kernel)));
    }
    if settings.oom != Oom::Off {
        checks.push(Check::new(NAME, "oom", oom::check(settings.oom, inventory, kernel)));
    }
    let wanted = ResourceKinds::of(settings);
    if wanted.any() {
        checks.push(Check::new(NAME, "resources", resources::check(wanted, inventory)));
    }
    if settings.volumes {
        checks.push(Check::new(NAME, "volumes", volumes::check(&inventory.containers(), now)));
    }
    checks
}

/// What depends on the programs, or on why there are none.
fn tcp(settings: &Tcp, kernel: &mut Result<Kernel, SourceError>) -> Vec<Check> {
    let check = |via, result| Check::new(NAME, via, result);
    let mut checks = Vec::new();
    match kernel {
        Ok(kernel) => {
            let memory = kernel.memory();
            let missing = kernel.refused().iter();
            let missing: Vec<String> =
                missing.map(|(program, why)| format!("; without {program}: {}", chain(why))).collect();
            let result = match kernel.refused_any(&[TCP]) {
                None => Ok(format!("programs loaded; maps {} KiB{}", memory / 1024, missing.concat())),
                Some(error) => Err(error.again("loading the programs for TCP")),
            };
            let attached = result.is_ok();
            checks.push(check(TCP_WAY, result));
            if attached {
                checks.push(check("baseline", baseline(kernel)));
            }
            if settings.immediate_failures {
                checks.push(check("immediate_failures", immediate_failures(kernel)));
            }
        }
        Err(error) => checks.push(check(TCP_WAY, Err(error.again("loading the programs for TCP")))),
    }
    if settings.translate {
        checks.push(check("translate", translation()));
    }
    checks
}

fn immediate_failures(kernel: &Kernel) -> Result<String, SourceError> {
    if let Some(error) = kernel.immediate_failures_refused() {
        return Err(error.again("attaching the programs for connections that fail immediately"));
    }
    if let Some(why) = &kernel.by_calls {
        let counted = "counted by the tracepoints of system calls, which makes each of them slower";
        return Ok(format!("{counted}: {}", chain(why)));
    }
    let denied = kernel.refused_any(&[DENY]);
    let denied = denied.map(|why| format!("; not those that a security module refuses: {}", chain(why)));
    Ok("counted where connect() begins and ends".to_owned() + &denied.unwrap_or_default())
}

fn baseline(kernel: &mut Kernel) -> Result<String, SourceError> {
    if let Some(error) = kernel.refused_any(&["existing_sockets"]) {
        return Err(error.again("finding the sockets that exist already"));
    }
    kernel.find_existing()?;
    let mut listeners = 0;
    kernel.listeners(|_| listeners += 1)?;
    let followed = kernel.numbers().followed;
    let scope = if sees_all_processes() {
        "of all processes"
    } else {
        "of the processes in the agent's PID namespace (all processes: run it in the host's)"
    };
    Ok(format!("{followed} connections and {listeners} listening sockets {scope}"))
}

/// Asks for a connection that there is not: the answer says whether questions are answered.
fn translation() -> Result<String, SourceError> {
    let mut client = Client::open(rustix::net::netlink::NETFILTER, "netfilter")?;
    let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    translate::ask(&mut client, nowhere, nowhere).map(|_| "conntrack answers lookups".to_owned())
}

fn names(inventory: &Inventory) -> Result<String, SourceError> {
    let directories = inventory.check_names()?;
    let tally = inventory.tally();
    let named = tally.containers.saturating_sub(tally.unnamed);
    let directories = if directories.is_empty() {
        "no files of a container engine were found".to_owned()
    } else {
        directories.join("; ")
    };
    Ok(format!("{named} of {} containers have a name; {directories}", tally.containers))
}

/// It works wherever control groups can be seen and, if TCP is wanted, one way to read it works; everything else adds to it.
pub(super) fn suffices(settings: &Settings, checks: &[Check]) -> bool {
    let works = |ways: &[&str]| checks.iter().any(|check| ways.contains(&check.via) && check.works());
    works(&[CGROUP]) && (!settings.tcp.enabled || works(&[TCP_WAY, PROCFS]))
}
