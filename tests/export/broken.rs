//! Connections that break, or were to the wrong port: each cause has one text, and the text says what to change.

use super::program::{Agent, AsText, BOTH, protocol};
use super::raw::{Raw, listen};
use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::receiver::{Receiver, Speaks};
use connscope::catalog::Config;
use connscope::config::{Flags, Otlp};
use connscope::export::encode::Message;
use connscope::export::otlp::grpc::Keepalive;
use connscope::export::otlp::transport::Transport;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The settings of a receiver at this URL.
fn otlp(url: String, speaks: Speaks) -> Otlp {
    let variables = HashMap::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks).to_owned()),
    ]);
    let config = Config::load(None, &|name| variables.get(name).cloned(), &Flags::default());
    config.expect("a configuration").export.otlp
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime")
}

/// Sends a message as the agent does: by the thread that the connections live on.
fn send(runtime: &Runtime, transport: &Arc<Transport>) -> Result<(), String> {
    let transport = Arc::clone(transport);
    let sent = runtime.spawn(async move {
        let message = message();
        tokio::time::timeout(PATIENCE, transport.send(&message, PATIENCE)).await.expect("an answer")
    });
    runtime.block_on(sent).expect("no panic").map(drop).map_err(|refusal| refusal.message)
}

/// What was said against a message.
fn refused(runtime: &Runtime, transport: &Arc<Transport>) -> String {
    send(runtime, transport).expect_err("refused")
}

/// A message that is more than the kernel takes at once.
fn message() -> Message {
    let resource = opentelemetry_proto::tonic::metrics::v1::ResourceMetrics {
        schema_url: "x".repeat(3 << 20),
        ..Default::default()
    };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
    Message { bytes: request.encode_to_vec().into(), points: 0 }
}

#[test]
fn a_port_that_speaks_another_protocol_is_told_with_what_to_change() {
    let (plain, tls) = ("http", "https");
    for (speaks, secure, scheme, asked, advice) in [
        (Speaks::Grpc, false, plain, Speaks::Http, "HTTP/2, as gRPC is: set export.otlp.protocol to grpc,"),
        (Speaks::Http, false, tls, Speaks::Http, "other than TLS: write http:// instead of https://"),
        (Speaks::Grpc, false, tls, Speaks::Grpc, "other than TLS: write http:// instead of https://"),
        (Speaks::Http, true, plain, Speaks::Http, "in TLS: write https:// instead of http://"),
        (Speaks::Grpc, true, plain, Speaks::Grpc, "in TLS: write https:// instead of http://"),
        (
            Speaks::Grpc,
            true,
            tls,
            Speaks::Http,
            "(no_application_protocol): set export.otlp.protocol to grpc,",
        ),
        (
            Speaks::Http,
            true,
            tls,
            Speaks::Grpc,
            "(no_application_protocol): set export.otlp.protocol to http/protobuf,",
        ),
    ] {
        let authority = Authority::new();
        let receiver = Receiver::reserve(speaks, secure.then(|| authority.server(None)));
        receiver.up();
        let address = receiver.address();
        let file = authority.file();
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{scheme}://{address}")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(asked)),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.as_text()),
            ],
            &["--interval", "1h"],
        );
        let line = agent.log.wait("cannot push over OTLP");
        let what =
            format!("{} over {scheme}:// at port {} was answered in ", protocol(asked), address.port());
        assert!(line.contains(&what) && line.contains(advice), "{speaks:?}, {what}: {line}");
    }
}

#[test]
fn grpc_to_a_port_of_http_is_told_with_what_to_change() {
    // As Go's servers answer, the Collector's among them; hyper's close the connection.
    let answers = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request";
    let go = Raw::answering(listen(), answers);
    let hyper = Receiver::start(Speaks::Http);
    for (address, how) in [
        (
            go.address,
            "grpc over http:// at port PORT was answered in HTTP/1.1: set export.otlp.protocol to http/protobuf",
        ),
        (
            hyper.address(),
            "closed the connection without an answer to grpc over http:// at port PORT: if the receiver uses http/protobuf, set",
        ),
    ] {
        let transport = Transport::new(&otlp(format!("http://{address}"), Speaks::Grpc), &|_| None);
        let said = refused(&runtime(), &Arc::new(transport.expect("a transport")));
        let words = how.replace("PORT", &address.port().to_string());
        assert!(said.contains(&words), "{said}");
    }
}

#[test]
fn grpc_that_is_answered_in_plain_http_is_told_with_what_to_change() {
    // A server of HTTP/2 that knows no gRPC.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = runtime();
    listener.set_nonblocking(true).expect("non-blocking");
    server.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|_| async {
                let answer = hyper::Response::builder().status(404).body(String::new());
                Ok::<_, std::convert::Infallible>(answer.expect("an answer"))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(executor).serve_connection(stream, service),
            );
        }
    });
    let transport = Transport::new(&otlp(format!("http://{address}"), Speaks::Grpc), &|_| None);
    let transport = Arc::new(transport.expect("a transport"));
    let said = refused(&runtime(), &transport);
    let words = "was answered in HTTP without gRPC: set export.otlp.protocol to http/protobuf";
    assert!(said.contains(words), "{said}");
}

/// Ways for a receiver to close a connection.
const WAYS: usize = 5;

fn close(mut stream: TcpStream, way: usize) {
    // What is not read when a socket is closed makes the kernel reset the connection.
    let read = [0, 1, 50_000, 10_000, 0][way % WAYS]; // less than HTTP/2 sends unasked
    let mut rest = vec![0; read];
    let _all = stream.read_exact(&mut rest);
    let socket = socket2::SockRef::from(&stream);
    match way % WAYS {
        // A reset at once.
        2 => socket.set_linger(Some(Duration::ZERO)).expect("lingering"),
        // An end in order, and then a reset by what still comes.
        4 => _ = stream.shutdown(Shutdown::Both),
        _ => {}
    }
}

#[test]
fn a_receiver_that_hangs_up_is_one_cause_however_it_does() {
    for speaks in BOTH {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for (way, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                close(stream, way);
            }
        });
        let transport = Transport::new(&otlp(format!("http://{address}"), speaks), &|_| None);
        let transport = Arc::new(transport.expect("a transport"));
        let runtime = runtime();
        let said: BTreeSet<String> = (0..60).map(|_| refused(&runtime, &transport)).collect();
        let (asked, other) =
            (protocol(speaks), protocol(if speaks == Speaks::Grpc { Speaks::Http } else { Speaks::Grpc }));
        let closed = format!(
            "the receiver closed the connection without an answer to {asked} over http:// at port {}: if the receiver uses {other}, \
             set export.otlp.protocol to that",
            address.port()
        );
        assert_eq!(said, BTreeSet::from([closed]), "{speaks:?}");
    }
}

/// A frame of HTTP/2 on stream 0 (RFC 9113, section 4.1).
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, 0, 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_receiver_of_grpc_that_ends_the_connection_is_not_taken_for_one_of_http() {
    let (settings, goaway) = (4, 7);
    // ENHANCE_YOUR_CALM, no stream was processed.
    let calm = [&[0, 0, 0, 0, 0, 0, 0, 11][..], b"\x1b[31mcalm down"].concat();
    let closed = "the receiver closed the connection without an answer to grpc over http:// at port PORT";
    let told = "the receiver ended the connection (GOAWAY): detected excessive load generating behavior: \u{fffd}[31mcalm down";
    for (frames, expected) in
        [(frame(settings, &[]), closed), ([frame(settings, &[]), frame(goaway, &calm)].concat(), told)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // The preface of the client and its SETTINGS are read, so that the close is an orderly one.
                let _preface = stream.read(&mut [0; 1 << 14]);
                let _sent = stream.write_all(&frames);
                let _ended = stream.shutdown(Shutdown::Write);
                let _rest = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        let transport = Transport::new(&otlp(format!("http://{address}"), Speaks::Grpc), &|_| None);
        let said = refused(&runtime(), &Arc::new(transport.expect("a transport")));
        assert_eq!(said, expected.replace("PORT", &address.port().to_string()));
    }
}

#[test]
fn what_a_receiver_says_before_it_hangs_up_is_the_cause() {
    // TLS 1.3: the certificate that is missing is complained of after the handshake, while the message is sent.
    for speaks in BOTH {
        let (authority, clients) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, authority.server(Some(&clients)));
        let mut settings = otlp(receiver.url(), speaks);
        settings.tls.ca_file = Some(authority.file());
        let transport = Arc::new(Transport::new(&settings, &|_| None).expect("a transport"));
        let runtime = runtime();
        let said: BTreeSet<String> = (0..30).map(|_| refused(&runtime, &transport)).collect();
        let required =
            "the receiver requires a client certificate: set export.otlp.tls.cert_file and key_file";
        assert_eq!(said, BTreeSet::from([required.to_owned()]), "{speaks:?}");
    }
}

/// Passes connections on to a receiver until it goes silent: what comes on those that are there is read and nothing is
/// passed on, as where a machine between the two has forgotten them.
struct Relay {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Connections that the agent has ended while the relay was silent.
    given_up: Arc<AtomicUsize>,
    silent: Arc<AtomicBool>,
}

impl Relay {
    fn start(receiver: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Self {
            address: listener.local_addr().expect("an address"),
            connections: Arc::default(),
            given_up: Arc::default(),
            silent: Arc::default(),
        };
        let (connections, given_up, silent) =
            (Arc::clone(&relay.connections), Arc::clone(&relay.given_up), Arc::clone(&relay.silent));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                // The one that comes after the silence is passed on.
                silent.store(false, Ordering::SeqCst);
                let silenced = Arc::new(AtomicBool::new(false));
                let server = TcpStream::connect(receiver).expect("the receiver");
                let ends = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in ends {
                    let (mut from, mut to) = (from.expect("one"), to.expect("one"));
                    let (silent, silenced) = (Arc::clone(&silent), Arc::clone(&silenced));
                    let given_up = Arc::clone(&given_up);
                    std::thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut bytes) {
                            silenced.fetch_or(silent.load(Ordering::SeqCst), Ordering::SeqCst);
                            if !silenced.load(Ordering::SeqCst) && to.write_all(&bytes[..read]).is_err() {
                                break;
                            }
                        }
                        if silenced.load(Ordering::SeqCst) {
                            given_up.fetch_add(1, Ordering::SeqCst);
                        }
                        let _gone = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        relay
    }
}

#[test]
fn a_receiver_that_goes_silent_is_noticed_between_two_messages() {
    let receiver = Receiver::start(Speaks::Grpc);
    let relay = Relay::start(receiver.address());
    let keepalive = Keepalive { idle: Duration::from_millis(100), answer: Duration::from_secs(1) };
    let transport = Transport::grpc(&otlp(format!("http://{}", relay.address), Speaks::Grpc), keepalive);
    let transport = Arc::new(transport.expect("a transport"));
    let runtime = runtime();
    let send = || send(&runtime, &transport).expect("taken");
    send();
    send();
    assert_eq!(relay.connections.load(Ordering::SeqCst), 1, "the connection is kept");
    relay.silent.store(true, Ordering::SeqCst);
    // No message is sent meanwhile.
    crate::support::eventually("the connection to be given up", || relay.given_up.load(Ordering::SeqCst) > 0);
    send();
    assert_eq!(relay.connections.load(Ordering::SeqCst), 2, "and connected again");
    assert_eq!(receiver.received().len(), 3);
}
