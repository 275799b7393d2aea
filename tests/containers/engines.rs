//! Containers of a real Docker and a real containerd: their names, their restarts, and how they end.

use super::{configuration, once, value};
use crate::support::engine::{Containerd, Docker};
use crate::support::{Agent, Namespace, eventually, get, scraped};

fn names_of(docker: &Docker) -> String {
    format!("{{names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}", docker.data().display())
}

/// The running agent, with the containers alone.
struct Running {
    _agent: Agent,
    address: std::net::SocketAddr,
    _file: tempfile::NamedTempFile,
}

impl Running {
    fn new(inventory: &str) -> Self {
        let file = configuration(inventory);
        let mut agent = Agent::start(scraped(file.path()));
        let address = agent.address();
        Self { _agent: agent, address, _file: file }
    }

    fn scrape(&self) -> String {
        get(self.address, "/metrics").1
    }

    /// Waits until a number is so in one of the next cycles.
    fn sees(&self, metric: &str, labels: &[&str], number: f64) {
        let mut latest = None;
        eventually(&format!("{metric} {labels:?} is {number}"), || {
            latest = value(&self.scrape(), metric, labels);
            latest == Some(number)
        });
    }
}

#[test]
fn a_container_has_the_name_image_and_id_that_docker_knows() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let id = docker.run("web", &[], &["sleep", "600"]);
    let text = once(&names_of(&docker));
    let info = [
        format!("cgroup=\"{}/{id}\"", docker.group()),
        format!("container_id=\"{id}\""),
        "container_image_name=\"busybox\"".to_owned(),
        "container_name=\"web\"".to_owned(),
    ];
    let info: Vec<&str> = info.iter().map(String::as_str).collect();
    assert_eq!(value(&text, "container_info", &info), Some(1.0), "{text}");
    assert_eq!(value(&text, "container_restarts_total", &["container_name=\"web\""]), Some(0.0), "{text}");
    let uptime = value(&text, "container_uptime_seconds", &["container_name=\"web\""]).unwrap();
    assert!((0.0..600.0).contains(&uptime), "{uptime}");
    // Without the file it is known by its id, and by the socket it has its name after all.
    let unnamed = once("{names: {docker: [], kubelet: , containerd: [], crio: []}}");
    assert_eq!(value(&unnamed, "container_restarts_total", &[&format!("container_id=\"{id}\"")]), Some(0.0));
    let by_socket = format!(
        "{{names: {{docker: [], kubelet: , containerd: [], crio: [], docker_socket: {}}}}}",
        docker.socket().display()
    );
    let agent = Running::new(&by_socket);
    agent.sees("container_restarts_total", &["container_name=\"web\""], 0.0);
}

#[test]
fn a_restart_by_policy_by_hand_and_by_a_new_container_with_the_name_is_one_each_and_the_counter_goes_on() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let agent = Running::new(&names_of(&docker));
    let web = ["container_name=\"web\""];
    docker.run("web", &["--restart", "always"], &["sleep", "600"]);
    agent.sees("container_restarts_total", &web, 0.0);
    // The policy starts what ends by itself.
    let pid = docker.docker(&["inspect", "--format", "{{.State.Pid}}", "web"]);
    std::process::Command::new("kill").args(["-9", &pid]).status().unwrap();
    agent.sees("container_restarts_total", &web, 1.0);
    docker.docker(&["restart", "--time", "0", "web"]);
    agent.sees("container_restarts_total", &web, 2.0);
    docker.docker(&["rm", "--force", "web"]);
    docker.run("web", &[], &["sleep", "600"]);
    agent.sees("container_restarts_total", &web, 3.0);
    // One that ended keeps its counter, has no uptime, and nothing counts on.
    docker.docker(&["kill", "web"]);
    eventually("it has ended", || value(&agent.scrape(), "container_uptime_seconds", &web).is_none());
    assert_eq!(value(&agent.scrape(), "container_restarts_total", &web), Some(3.0));
}

#[test]
fn a_container_that_is_renamed_has_its_new_name_and_the_next_one_the_old() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let agent = Running::new(&names_of(&docker));
    docker.run("web", &[], &["sleep", "600"]);
    agent.sees("container_restarts_total", &["container_name=\"web\""], 0.0);
    docker.docker(&["rename", "web", "web-old"]);
    docker.run("web", &[], &["sleep", "600"]);
    agent.sees("container_restarts_total", &["container_name=\"web\""], 1.0);
    agent.sees("container_restarts_total", &["container_name=\"web-old\""], 0.0);
    let text = agent.scrape();
    let running = text.lines().filter(|line| line.starts_with("container_uptime_seconds{"));
    let running: Vec<&str> = running.filter(|line| line.contains("container_name=\"web")).collect();
    assert_eq!(running.len(), 2, "{running:?}");
    assert!(!running.iter().any(|line| line.contains("container_id=")), "no name is used twice: {running:?}");
    // Nobody takes this one's place.
    docker.docker(&["rename", "web-old", "web-older"]);
    agent.sees("container_restarts_total", &["container_name=\"web-older\""], 0.0);
}

#[test]
fn a_container_of_a_pod_has_the_names_that_containerd_was_told_and_a_sandbox_is_none() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(containerd) = Containerd::start(&namespace) else { return };
    let (pod, app, pause) = ("0f5e7d3c-1a2b-4c3d-8e9f-0123456789ab", "a1".repeat(32), "b2".repeat(32));
    let of_pod =
        [("io.kubernetes.cri.sandbox-namespace", "prod"), ("io.kubernetes.cri.sandbox-name", "web-0")];
    let kind = |kind| [("io.kubernetes.cri.container-type", kind)];
    let name = [
        ("io.kubernetes.cri.container-name", "app"),
        ("io.kubernetes.cri.image-name", "docker.io/library/busybox:latest"),
    ];
    containerd.run(pod, &pause, &[&of_pod[..], &kind("sandbox")].concat(), &["sleep", "600"]);
    containerd.run(pod, &app, &[&of_pod[..], &kind("container"), &name].concat(), &["sleep", "600"]);
    let places = format!(
        "{{names: {{docker: [], kubelet: , containerd: [{}], crio: []}}}}",
        containerd.state().display()
    );
    let agent = Running::new(&places);
    let who = ["k8s_namespace_name=\"prod\"", "k8s_pod_name=\"web-0\"", "k8s_container_name=\"app\""];
    agent.sees("container_restarts_total", &who, 0.0);
    let text = agent.scrape();
    let runtime = [&who[..], &["container_runtime_name=\"containerd\"", &format!("container_id=\"{app}\"")]];
    assert_eq!(value(&text, "container_info", &runtime.concat()), Some(1.0), "{text}");
    assert!(!text.contains(&pause), "the sandbox is there: {text}");
    // The kubelet restarts a container as another one, with another id.
    let again = "c3".repeat(32);
    containerd.end(&app);
    containerd.run(pod, &again, &[&of_pod[..], &kind("container"), &name].concat(), &["sleep", "600"]);
    agent.sees("container_restarts_total", &who, 1.0);
    let image = value(&agent.scrape(), "container_info", &[&format!("container_id=\"{again}\"")]);
    assert_eq!(image, Some(1.0));
}

#[test]
fn a_child_that_the_kernel_kills_for_memory_is_counted_and_one_that_a_person_kills_is_not() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    // `tail` keeps the last line, which has no end.
    let loop_ = "while :; do if [ -e /tmp/go ]; then rm /tmp/go; tail /dev/zero; fi; usleep 100000; done";
    docker.run("hungry", &["--memory", "20m", "--memory-swap", "20m"], &["sh", "-c", loop_]);
    let agent = Running::new(&names_of(&docker));
    let hungry = ["container_name=\"hungry\""];
    agent.sees("container_oom_kills_total", &hungry, 0.0);
    docker.docker(&["exec", "hungry", "sh", "-c", "sleep 100 & kill -9 $!"]);
    docker.docker(&["exec", "hungry", "touch", "/tmp/go"]);
    agent.sees("container_oom_kills_total", &hungry, 1.0);
    assert_eq!(value(&agent.scrape(), "container_restarts_total", &hungry), Some(0.0), "it lived on");
    // What was there before the agent begins at 0, and goes on from there.
    let later = Running::new(&names_of(&docker));
    later.sees("container_oom_kills_total", &hungry, 0.0);
    docker.docker(&["exec", "hungry", "touch", "/tmp/go"]);
    later.sees("container_oom_kills_total", &hungry, 1.0);
    agent.sees("container_oom_kills_total", &hungry, 2.0);
}

/// What a command of the agent says as nobody, with these capabilities and no others.
pub(super) fn said_as_nobody(command: &[&str], file: &std::path::Path, capabilities: &str) -> String {
    let agent = crate::support::command(&[command, &["--config", file.to_str().unwrap()]].concat());
    let capabilities = format!("-all{capabilities}");
    let mut setpriv = std::process::Command::new("setpriv");
    setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    setpriv.args(["--inh-caps", &capabilities, "--ambient-caps", &capabilities]);
    let output = setpriv.arg(agent.get_program()).args(agent.get_args()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_capability_everything_is_there_but_the_names_and_check_says_which_is_missing() {
    use std::os::unix::fs::PermissionsExt;
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let id = docker.run("web", &[], &["sleep", "600"]);
    let file = configuration(&names_of(&docker));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let checked = said_as_nobody(&["check"], file.path(), "");
    let names = checked.lines().find(|line| line.starts_with("containers names")).unwrap();
    assert!(names.contains("denied") && names.contains("CAP_DAC_READ_SEARCH"), "{checked}");
    // The programs in the kernel, and conntrack.
    for (way, capability) in [("tcp", "CAP_BPF and CAP_PERFMON"), ("translate", "CAP_NET_ADMIN")] {
        let line = checked.lines().find(|line| line.starts_with(&format!("containers {way} "))).unwrap();
        assert!(line.contains(" denied ") && line.contains(capability), "{checked}");
    }
    let closed = ["names", "tcp", "translate", "delay", "volumes"].map(|way| format!("containers {way} "));
    let others = checked.lines().filter(|line| !closed.iter().any(|way| line.starts_with(way)));
    assert!(others.clone().count() >= 2 && others.clone().all(|line| line.contains(" works ")), "{checked}");
    let read = said_as_nobody(&["once", "--format", "prometheus"], file.path(), "");
    let unnamed = format!("container_id=\"{id}\"");
    assert_eq!(value(&read, "container_restarts_total", &[&unnamed]), Some(0.0), "{read}");
    assert_eq!(value(&read, "container_oom_kills_total", &[&unnamed]), Some(0.0), "{read}");
    assert!(value(&read, "container_uptime_seconds", &[&unnamed]).is_some(), "{read}");
    assert_eq!(value(&read, "connscope_containers_source", &["via=\"procfs\""]), Some(1.0), "{read}");
    let all = ",+dac_read_search,+sys_ptrace,+bpf,+perfmon,+net_admin";
    let checked = said_as_nobody(&["check"], file.path(), all);
    assert!(checked.lines().all(|line| line.contains(" works ")), "{checked}");
    let read = said_as_nobody(&["once", "--format", "prometheus"], file.path(), ",+bpf,+perfmon");
    assert_eq!(value(&read, "connscope_containers_source", &["via=\"bpf\""]), Some(1.0), "{read}");
    let read = said_as_nobody(&["once", "--format", "prometheus"], file.path(), ",+dac_read_search");
    assert_eq!(value(&read, "container_restarts_total", &["container_name=\"web\""]), Some(0.0), "{read}");
}
