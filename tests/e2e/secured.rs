//! TLS with a private authority, client certificates, a bearer token and gzip, over gRPC and over HTTP/protobuf: what
//! is right arrives, what is wrong is refused by the real Collector and can be seen to be.

use crate::parity::equal_to_kernel;
use crate::readings::{exported, scrape_at, sum, traffic};
use crate::stack::{Collector, Prometheus, agent, end, quiet_namespace, repository, until};
use crate::support::authority::Authority;
use crate::support::{Agent, Namespace};
use std::path::Path;

const TOKEN: &str = "the-token-of-the-test";

/// A server that wants a certificate says so when the client has begun to talk already (TLS 1.3), so the client sees the
/// alert or just a connection that is closed, and what the log says of that has no words in common.
const HANGS_UP: &str = "";

/// One way to push, right or wrong.
struct Pusher {
    name: &'static str,
    protocol: &'static str,
    token: &'static str,
    compression: &'static str,
    client_certificate: bool,
    known_authority: bool,
    /// `error.type` of the refusal, and what the log says; `None` where it is to be taken.
    refused: Option<(&'static str, &'static str)>,
}

/// Everything right.
const RIGHT: Pusher = Pusher {
    name: "grpc",
    protocol: "grpc",
    token: TOKEN,
    compression: "gzip",
    client_certificate: true,
    known_authority: true,
    refused: None,
};

const OVER_HTTP: Pusher = Pusher { name: "http", protocol: "http/protobuf", ..RIGHT };

const PUSHERS: &[Pusher] = &[
    RIGHT,
    OVER_HTTP,
    Pusher {
        name: "grpc-wrong-token",
        token: "another",
        refused: Some(("UNAUTHENTICATED", "UNAUTHENTICATED")),
        ..RIGHT
    },
    Pusher { name: "http-wrong-token", token: "another", refused: Some(("401", "401")), ..OVER_HTTP },
    Pusher {
        name: "grpc-no-certificate",
        client_certificate: false,
        refused: Some(("connection", HANGS_UP)),
        ..RIGHT
    },
    Pusher {
        name: "http-no-certificate",
        client_certificate: false,
        refused: Some(("connection", HANGS_UP)),
        ..OVER_HTTP
    },
    Pusher {
        name: "grpc-unknown-authority",
        known_authority: false,
        refused: Some(("connection", "UnknownIssuer")),
        ..RIGHT
    },
    Pusher {
        name: "http-unknown-authority",
        known_authority: false,
        refused: Some(("connection", "UnknownIssuer")),
        ..OVER_HTTP
    },
    // Takes gzip only, so what the others send over HTTP is gzip. A gRPC server cannot be told to; tests/otlp.rs looks at
    // the `grpc-encoding` of what is sent.
    Pusher { name: "http-plain", compression: "none", refused: Some(("400", "400")), ..OVER_HTTP },
];

impl Pusher {
    fn start(
        &self,
        namespace: &Namespace,
        port: u16,
        authority: &Path,
        certificate: (&Path, &Path),
    ) -> Agent {
        let endpoint =
            if self.protocol == "grpc" { "https://localhost:4317" } else { "https://localhost:4318" };
        let resource = format!("service.instance.id={}", self.name);
        let headers = format!("authorization=Bearer%20{}", self.token);
        let listen = format!("127.0.0.1:{port}");
        let (certificate, key) = (certificate.0.to_str().unwrap(), certificate.1.to_str().unwrap());
        let mut variables = vec![
            ("OTEL_RESOURCE_ATTRIBUTES", resource.as_str()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", self.compression),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.to_str().unwrap()),
        ];
        if self.client_certificate {
            variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate));
            variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key));
        }
        agent(namespace, &["--interval", "1s", "--listen", &listen], &variables)
    }

    /// What the agent's own endpoint says of it.
    fn check(&self, exposition: &str) -> Result<(), String> {
        let well = exported(exposition, None);
        match self.refused {
            None if well > 0.0 => Ok(()),
            None => Err(format!("{}: nothing was exported", self.name)),
            Some(_) if well > 0.0 => panic!("{}: {well} data points were taken", self.name),
            Some((error, _)) if exported(exposition, Some(error)) > 0.0 => Ok(()),
            Some((error, _)) => {
                let told: Vec<&str> =
                    exposition.lines().filter(|line| line.contains("point_exported_total{")).collect();
                Err(format!("{}: nothing was refused with {error}: {told:#?}", self.name))
            }
        }
    }
}

#[test]
fn who_has_the_certificates_and_the_token_is_let_in_and_nobody_else() {
    let Some(namespace) = quiet_namespace() else { return };
    let (ours, another) = (Authority::new(), Authority::new());
    let (server, client) = (ours.sign("server"), ours.sign("client"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let prometheus = Prometheus::start(&namespace);
    let variables = [
        ("TOKEN", TOKEN.to_owned()),
        ("CERTIFICATE", text(&server.0)),
        ("KEY", text(&server.1)),
        ("CLIENT_AUTHORITY", text(&ours.file())),
    ];
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let overlay = repository("tests/e2e/secured.yaml");
    let _collector = Collector::start_with(&namespace, overlay.to_str(), &variables);
    let agents: Vec<(&Pusher, u16, Agent)> = PUSHERS
        .iter()
        .zip(9371..)
        .map(|(pusher, port)| {
            let authority = if pusher.known_authority { ours.file() } else { another.file() };
            (pusher, port, pusher.start(&namespace, port, &authority, (&client.0, &client.1)))
        })
        .collect();

    traffic(&namespace, 1);
    let arrived: Vec<String> =
        PUSHERS.iter().filter(|pusher| pusher.refused.is_none()).map(by_instance).collect();
    let arrived: Vec<&str> = arrived.iter().map(String::as_str).collect();
    let numbers = equal_to_kernel(&prometheus, &namespace, &arrived);
    assert_eq!(sum(&numbers, "conntrack_insert_total"), 5.0);
    for (pusher, port, _) in &agents {
        until("the agent says what became of its data points", || {
            pusher.check(&scrape_at(&namespace, *port)?)
        });
    }
    for pusher in PUSHERS.iter().filter(|pusher| pusher.refused.is_some()) {
        assert!(prometheus.query(&by_instance(pusher)).unwrap().is_empty(), "{} came through", pusher.name);
    }
    for (pusher, _, agent) in agents {
        let log = end(agent);
        let warnings: Vec<&String> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
        match pusher.refused {
            None => assert!(warnings.is_empty(), "{}: {warnings:#?}", pusher.name),
            Some((_, said)) => {
                // A receiver hangs up at one moment or another, and each is a cause of its own.
                let one = warnings.len() == 1 || (warnings.len() > 1 && said == HANGS_UP);
                assert!(one, "{}: {warnings:#?}", pusher.name);
                let warning = warnings[0];
                assert!(warning.contains("cannot push over OTLP") && warning.contains(said), "{warning}");
                assert!(warnings.iter().all(|warning| warning.contains("push over OTLP")), "{warnings:#?}");
                assert!(!log.concat().contains(TOKEN) && !log.concat().contains("another"), "{log:#?}");
                println!("{}: {warning}", pusher.name);
            }
        }
    }
}

fn by_instance(pusher: &Pusher) -> String {
    format!("{{job=\"connscope\",instance=\"{}\"}}", pusher.name)
}
