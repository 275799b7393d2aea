//! Containers and logs from one inventory, which either source refreshes: who ended between two cycles keeps its name.

use super::{file, value};
use crate::support::engine::Docker;
use crate::support::{Agent, Namespace, eventually, get, scraped};

/// The numbers of a metric whose series have a label.
fn numbers(text: &str, metric: &str, label: &str) -> Vec<f64> {
    let of_metric = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    of_metric.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn containers_that_end_between_two_cycles_keep_their_name_and_have_no_restart_that_was_none() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let file = file(&format!(
        "inventory: {{units: false, names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  logs: {{enabled: true}}\n  \
         containers: {{enabled: true}}\n",
        docker.data().display()
    ));
    let mut agent = namespace.inside(|| Agent::start(scraped(file.path())));
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    scrape();
    // Each is refused once by the bridge, and says so.
    let once = "nc 172.17.0.1 1; echo ERROR refused";
    let names = ["s1", "s2", "s3", "s4", "s5"];
    let mut ids: Vec<String> = names.map(|name| docker.run(name, &[], &["sh", "-c", once])).into();
    // The policy starts it four times in all.
    let again = format!("{once}; exit 1");
    ids.push(docker.run("again", &["--restart", "on-failure:3"], &["sh", "-c", &again]));
    let restarted =
        || docker.docker(&["inspect", "--format", "{{.RestartCount}} {{.State.Running}}", "again"]);
    eventually("the policy has given up", || restarted() == "3 false");
    let failed = |text: &str, name: &str| {
        let who = format!("container_name=\"{name}\"");
        value(text, "container_tcp_connections_total", &[&who, "error_type=\"connection_refused\""])
    };
    eventually("every connection is counted under a name", || {
        let text = scrape();
        names.iter().all(|name| failed(&text, name) == Some(1.0)) && failed(&text, "again") == Some(4.0)
    });
    let restarts = |text: &str, name: &str| {
        value(text, "container_restarts_total", &[&format!("container_name=\"{name}\"")])
    };
    eventually("each start after the first is a restart", || restarts(&scrape(), "again") == Some(3.0));
    // The logs look at the inventory in between, and so does every cycle: nothing changes any more.
    for _ in 0..20 {
        let text = scrape();
        assert_eq!(names.map(|name| restarts(&text, name)), [Some(0.0); 5], "{text}");
        assert_eq!((restarts(&text, "again"), failed(&text, "again")), (Some(3.0), Some(4.0)), "{text}");
        for id in &ids {
            let unnamed = numbers(&text, "container_restarts_total", id);
            assert_eq!(unnamed, [0.0; 0], "{text}");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let messages = |name: &str| {
        let who = format!("container_name=\"{name}\"");
        value(&scrape(), "container_log_messages_total", &[&who, "severity=\"error\""])
    };
    eventually("their messages are under their names", || {
        names.iter().all(|name| messages(name) == Some(1.0)) && messages("again") == Some(4.0)
    });
}
