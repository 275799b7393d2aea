//! The type of application in real containers, by what runs in them.

use super::file;
use crate::support::engine::Docker;
use crate::support::{Agent, Namespace, PATIENCE, get, scraped};
use std::time::{Duration, Instant};

/// The lines of `container_application`, those of a container only.
fn types(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with("container_application{"));
    lines.filter(|line| line.contains(&format!("container_name=\"{name}\""))).map(str::to_owned).collect()
}

#[test]
fn the_type_of_an_application_is_that_of_its_processes_also_after_another_program_was_started() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    docker.run("web", &[], &["httpd", "-f", "-p", "8080"]);
    docker.run("plain", &[], &["sleep", "600"]);
    // An entry point that waits for something, and then becomes the application.
    docker.run("late", &[], &["sh", "-c", "until [ -e /go ]; do sleep 0.1; done; exec httpd -f -p 8080"]);
    let inventory = format!(
        "{{units: false, exclude: [/container/.*], names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}",
        docker.data().display()
    );
    let configuration = |more: &str| {
        file(&format!(
            "inventory: {inventory}\nsources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
             containers: {{enabled: true, tcp: {{enabled: false}}, delay: off, oom: off{more}}}\n"
        ))
    };
    let start = |file: &tempfile::NamedTempFile| namespace.inside(|| Agent::start(scraped(file.path())));
    let on = configuration("");
    let mut agent = start(&on);
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = scrape();
        if !types(&text, "web").is_empty() {
            break text;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let web = types(&text, "web");
    assert!(
        web.len() == 1 && web[0].contains("application_type=\"httpd\"") && web[0].ends_with(" 1"),
        "{web:?}"
    );
    assert!(types(&text, "plain").is_empty() && types(&text, "late").is_empty(), "{text}");
    docker.docker(&["exec", "late", "touch", "/go"]);
    while types(&scrape(), "late").is_empty() {
        assert!(Instant::now() < until, "{}", scrape());
        std::thread::sleep(Duration::from_millis(100));
    }
    docker.docker(&["rm", "--force", "web"]);
    while !types(&scrape(), "web").is_empty() {
        assert!(Instant::now() < until, "of what has ended nothing is said: {}", scrape());
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(agent);
    let off = configuration(", application: false");
    let mut agent = start(&off);
    let address = agent.address();
    let text = namespace.inside(|| get(address, "/metrics").1);
    assert!(text.contains("container_info{") && !text.contains("container_application{"), "{text}");
}
