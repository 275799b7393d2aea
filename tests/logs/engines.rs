//! Logs of containers: a real Docker, and files as containerd writes them.

use super::Running;
use crate::support::engine::Docker;
use crate::support::{Namespace, eventually};
use std::time::{Duration, Instant};

const MESSAGES: &str = "container_log_messages_total";

pub(super) fn of_docker(docker: &Docker, logs: &str) -> Running {
    let places =
        format!("{{names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}", docker.data().display());
    Running::new(&format!("cri: false, journald: false, files: false, {logs}"), &places)
}

/// A script that a container of Docker runs when it is told to, so that its log is followed by then.
pub(super) fn told(docker: &Docker, name: &str, options: &[&str], script: &str) {
    let script = format!("until [ -e /tmp/go ]; do sleep 0.05; done\n{script}\nsleep 600");
    docker.run(name, options, &["sh", "-c", &script]);
}

pub(super) fn tell(docker: &Docker, name: &str) {
    docker.docker(&["exec", name, "touch", "/tmp/go"]);
}

#[test]
fn a_container_of_docker_logs_lines_traces_and_lines_in_parts() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    told(
        &docker,
        "web",
        &[],
        "i=0; while [ $i -lt 1000 ]; do echo \"ERROR order $i failed\"; i=$((i+1)); done
         echo 'FATAL it broke' >&2; printf '\\tat A.pay(A.java:2)\\n\\tat A.main(A.java:5)\\nCaused by: B\\n' >&2
         head -c 20000 /dev/zero | tr '\\0' x; echo
         printf 'WARN no end'",
    );
    let mut agent = of_docker(&docker, "");
    let web = "container_name=\"web\"";
    agent.sees(MESSAGES, &[web, "log_source=\"docker\"", "severity=\"error\""], 0.0);
    tell(&docker, "web");
    agent.sees(MESSAGES, &[web, "severity=\"error\""], 1000.0);
    agent.sees("container_log_patterns_total", &[web, "severity=\"error\""], 1000.0);
    assert_eq!(agent.values("container_log_patterns_total", &[web, "severity=\"error\""]).len(), 1);
    agent.sees(MESSAGES, &[web, "severity=\"critical\""], 1.0);
    agent.sees(MESSAGES, &[web, "severity=\"unknown\""], 1.0);
    // What has no end is a part, until the container ends.
    docker.docker(&["kill", "web"]);
    agent.sees(MESSAGES, &[web, "severity=\"warning\""], 1.0);
    agent.sees("connscope_logs_malformed_total", &["log_source=\"docker\""], 0.0);
    // A container that is started later is read from its beginning, and another driver has no file.
    docker.run("late", &[], &["sh", "-c", "echo 'ERROR at once'; sleep 600"]);
    docker.run("local", &["--log-driver", "local"], &["sh", "-c", "echo 'ERROR at once'; sleep 600"]);
    agent.sees(MESSAGES, &["container_name=\"late\"", "severity=\"error\""], 1.0);
    agent.agent.wait_for("logs of /docker/local are not read: driver local");
    assert!(agent.values(MESSAGES, &["container_name=\"local\""]).is_empty());
}

#[test]
fn a_container_that_lives_200_ms_and_takes_its_log_with_it_is_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let agent = of_docker(&docker, "");
    agent.sees("connscope_logs_files", &["log_source=\"docker\""], 0.0);
    for _ in 0..5 {
        docker.run_to_end("short", "echo ERROR at once; sleep 0.2; echo ERROR at the end");
    }
    agent.sees(MESSAGES, &["container_name=\"short\"", "severity=\"error\""], 10.0);
}

#[test]
fn a_container_that_is_stopped_and_started_is_counted_once() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    docker.run(
        "web",
        &[],
        &["sh", "-c", "echo ERROR started; until [ -e /tmp/end ]; do sleep 0.05; done; sleep 600"],
    );
    let labels = ["container_name=\"web\"", "severity=\"error\""];
    let agent = of_docker(&docker, "");
    agent.sees(MESSAGES, &labels, 0.0);
    for count in 1..=3 {
        docker.docker(&["restart", "--time", "0", "web"]);
        agent.sees(MESSAGES, &labels, f64::from(count));
    }
    // Another agent begins at the end.
    drop(agent);
    docker.docker(&["restart", "--time", "0", "web"]);
    let agent = of_docker(&docker, "");
    agent.sees(MESSAGES, &labels, 0.0);
    docker.docker(&["restart", "--time", "0", "web"]);
    agent.sees(MESSAGES, &labels, 1.0);
}

#[test]
fn a_container_that_writes_as_fast_as_it_can_keeps_nobody_waiting_for_2_s() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let file = ["--log-opt", "max-size=50m", "--log-opt", "max-file=2"];
    docker.run("fast", &file, &["sh", "-c", "yes INFO as fast as it can"]);
    docker.run("slow", &[], &["sh", "-c", "mkfifo /tmp/in; while read line < /tmp/in; do echo $line; done"]);
    let agent = of_docker(&docker, "");
    let slow = ["container_name=\"slow\"", "severity=\"error\""];
    agent.sees(MESSAGES, &slow, 0.0);
    let mut best = Duration::MAX;
    let mut count = 0.0;
    // The machine may be busy with something else for a while.
    eventually("a line is counted within 2 s", || {
        docker.docker(&["exec", "slow", "sh", "-c", "echo ERROR once > /tmp/in; echo end > /tmp/in"]);
        let began = Instant::now();
        count += 1.0;
        agent.sees(MESSAGES, &slow, count);
        best = best.min(began.elapsed());
        best < Duration::from_secs(2)
            && agent.values(MESSAGES, &["container_name=\"fast\""]).iter().sum::<f64>() > 1e4
    });
    eprintln!("beside one that writes as fast as it can, a line was counted after {best:?}");
    docker.docker(&["kill", "fast"]);
}

/// A container of a pod in the view of the kubelet: its log and the link to it, below a root.
pub(super) fn link(root: &std::path::Path, id: &str, name: &str, number: u32) -> std::path::PathBuf {
    let log = format!("var/log/pods/prod_web-0_0f5e7d3c/{name}/{number}.log");
    let links = root.join("var/log/containers");
    std::fs::create_dir_all(root.join(&log).parent().unwrap()).unwrap();
    std::fs::create_dir_all(&links).unwrap();
    std::fs::write(root.join(&log), "").unwrap();
    std::os::unix::fs::symlink(format!("/{log}"), links.join(format!("web-0_prod_{name}-{id}.log"))).unwrap();
    root.join(log)
}

pub(super) fn append(path: &std::path::Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

#[test]
fn a_container_of_a_pod_is_followed_through_rotation_and_restarts() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let root = tempfile::tempdir().unwrap();
    let id = docker.run("first", &[], &["sleep", "600"]);
    let log = link(root.path(), &id, "app", 0);
    let beside = link(root.path(), &docker.run("beside", &[], &["sleep", "600"]), "proxy", 0);
    let places =
        format!("{{root: {}, names: {{docker: [], containerd: [], crio: []}}}}", root.path().display());
    let agent = Running::new("docker: false, journald: false, files: false", &places);
    let app = ["k8s_namespace_name=\"prod\"", "k8s_pod_name=\"web-0\"", "k8s_container_name=\"app\""];
    let errors = [&app[..], &["severity=\"error\"", "log_source=\"cri\""]].concat();
    agent.sees(MESSAGES, &errors, 0.0);
    let time = "2026-11-26T05:00:00.123456789Z";
    append(
        &log,
        &format!("{time} stdout P ERROR in \n{time} stderr F ERROR between\n{time} stdout F parts\n"),
    );
    agent.sees(MESSAGES, &errors, 2.0);
    // The kubelet renames the file, and tells the runtime to open it again a little later.
    append(&log, &format!("{time} stdout F ERROR before\n"));
    let old = log.with_file_name("0.log.20261126-050000");
    std::fs::rename(&log, &old).unwrap();
    append(&old, &format!("{time} stdout F ERROR meanwhile\n"));
    append(&log, &format!("{time} stdout F ERROR after\nno record\n"));
    agent.sees(MESSAGES, &errors, 5.0);
    agent.sees("connscope_logs_malformed_total", &["log_source=\"cri\""], 1.0);
    // Another container of the pod has a log of its own.
    append(&beside, &format!("{time} stdout F ERROR beside\n"));
    agent.sees(MESSAGES, &["k8s_container_name=\"proxy\"", "severity=\"error\""], 1.0);
    agent.sees(MESSAGES, &errors, 5.0);
    // A part has its end with that of the container. Restarted it is another one with a log of its own, and the counter goes on.
    append(&log, &format!("{time} stdout P ERROR without an end\n"));
    docker.docker(&["rm", "--force", "first"]);
    agent.sees(MESSAGES, &errors, 6.0);
    let id = docker.run("second", &[], &["sleep", "600"]);
    append(&link(root.path(), &id, "app", 1), &format!("{time} stdout F ERROR again\n"));
    agent.sees(MESSAGES, &errors, 7.0);
}

#[test]
fn a_file_in_the_file_system_of_a_container_is_found_read_and_counted_once() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let script = "mkdir -p /var/log; exec 3>>/var/log/app.log 4<>/etc/other; echo 'ERROR at once' >&3; sleep 600 & \
                  until [ -e /tmp/go ]; do sleep 0.05; done; echo 'ERROR again' >&3; mv /var/log/app.log /var/log/app.log.1; \
                  echo 'ERROR in the old one' >&3; exec 3>>/var/log/app.log; echo 'ERROR in the new one' >&3; sleep 600";
    let names =
        format!("names: {{docker: [{}], kubelet: , containerd: [], crio: []}}", docker.data().display());
    let inventory = format!("{{include: [/docker/app], {names}}}");
    let agent = Running::new("docker: false, cri: false, journald: false, files: auto", &inventory);
    docker.run("app", &[], &["sh", "-c", script]);
    let app = ["container_name=\"app\"", "log_source=\"file\"", "severity=\"error\""];
    agent.sees(MESSAGES, &app, 1.0);
    tell(&docker, "app");
    agent.sees(MESSAGES, &app, 4.0);
    agent.sees("connscope_logs_files", &["log_source=\"file\""], 1.0);
    agent.sees("connscope_logs_lost_bytes_total", &[], 0.0);
}
