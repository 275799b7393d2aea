//! What a reload cannot change, and what it ends.

use super::reload::{NO_PUSH, Reloaded, yaml};
use crate::support::agent::behind;
use crate::support::receiver::{Receiver, Speaks};
use crate::support::{PATIENCE, eventually, get, skipped};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

#[test]
fn what_takes_a_restart_is_named_and_stays() {
    let reloaded = Reloaded::start(&yaml("", "", NO_PUSH), 7);
    let web = reloaded.script.file("web.yml");
    std::fs::write(&web, "{}\n").unwrap();
    let prometheus = |more: &str| yaml("", "", &format!("{}, {more}}}", NO_PUSH.trim_end_matches('}')));
    for (config, named) in [
        (yaml("", "", NO_PUSH) + "log: {level: warn}\ninventory: {limit: 50}\n", "inventory, log"),
        (prometheus("socket_mode: '0600'"), "export.prometheus.socket_mode"),
        (prometheus(&format!("web_config: {}", web.display())), "export.prometheus.web_config"),
        (yaml("", "", NO_PUSH) + "resource: {cloud: {detect: off}}\n", "resource"),
    ] {
        reloaded.write(&config);
        let said = (200, format!("nothing has changed; takes effect after a restart: {named}\n"));
        assert_eq!(reloaded.post(), said);
        assert_eq!(reloaded.post(), said, "it still does");
    }
    reloaded.write(&yaml("", "", NO_PUSH));
    assert_eq!(reloaded.post(), (200, "nothing has changed\n".to_owned()));
}

#[test]
fn a_new_name_of_the_host_takes_a_restart() {
    if !rustix::process::geteuid().is_root() {
        return skipped("needs root, for a namespace with a host name of its own");
    }
    let reloaded = Reloaded::start_with(&yaml("", "", NO_PUSH), 7, |command| {
        *command = behind(&["unshare", "--uts"], command);
    });
    assert_eq!(reloaded.post(), (200, "nothing has changed\n".to_owned()));
    let pid = reloaded.agent.pid().to_string();
    let renamed = Command::new("nsenter").args(["--uts", "--target", &pid, "hostname", "another"]).status();
    assert!(renamed.unwrap().success());
    let said = "nothing has changed; takes effect after a restart: the attributes of the resource\n";
    assert_eq!(reloaded.post(), (200, said.to_owned()));
}

#[test]
fn a_push_that_fails_is_forgotten_where_it_is_disabled_or_moved() {
    let receiver = Receiver::start(Speaks::Grpc);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let state = |start: &str| loop {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if said.starts_with(start) {
            return said;
        }
    };
    let to = |url: &str| {
        let export = format!("otlp: {{endpoint: '{url}', interval: 100ms}}, prometheus: {{lifecycle: true}}");
        yaml("", "", &export)
    };
    let nowhere = to("http://127.0.0.1:1");
    let reloaded = Reloaded::start_with(&nowhere, 7, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    state("READY=1\n");
    let push = || {
        let status: serde_json::Value = serde_json::from_str(&get(reloaded.address, "/-/status").1).unwrap();
        status["push"].clone()
    };
    let fails = || eventually("the push fails", || push()["warning"].is_string());
    for (config, pushes) in [(yaml("", "", NO_PUSH), false), (to(&receiver.url()), true)] {
        fails();
        reloaded.write(&config);
        assert_eq!(reloaded.post(), (200, "changed export.otlp\n".to_owned()));
        let said = state("READY=1\n");
        assert!(!said.contains("the push fails"), "{said}");
        assert!(push().is_object() == pushes && push()["warning"].is_null(), "{}", push());
        reloaded.write(&nowhere);
        assert_eq!(reloaded.post().0, 200);
        state("READY=1\n");
    }
    // With other settings for the same receiver it is still the same push.
    fails();
    reloaded.write(&nowhere.replace("100ms", "1h"));
    assert_eq!(reloaded.post().0, 200);
    assert!(push()["warning"].is_string(), "{}", push());
}
