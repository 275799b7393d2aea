//! Which connection is closed at a limit of the endpoint.

use connscope::web::arrivals::{Arrivals, MAX_WAITING};
use connscope::web::connections::{Connections, MAX_CONNECTIONS};
use connscope::web::stream::{Client, Stream};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// What serves a connection, or waits for its request.
fn task() -> JoinHandle<()> {
    tokio::spawn(std::future::pending())
}

/// The positions of the connections that were closed.
async fn closed<T>(connections: &[(T, JoinHandle<()>)]) -> Vec<usize> {
    for _ in 0..3 {
        tokio::task::yield_now().await; // the runtime ends what was aborted
    }
    let all = connections.iter().enumerate();
    all.filter(|(_, (_, task))| task.is_finished()).map(|(position, _)| position).collect()
}

#[test]
fn of_connections_the_one_that_is_idle_longest_goes() {
    in_runtime(async {
        let connections = Arc::new(Connections::default());
        let open: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let (ticket, task) = (Arc::new(connections.add_if_room().unwrap()), task());
                connections.served_by(ticket.id(), task.abort_handle());
                (ticket, task)
            })
            .collect();
        // The first has a response in progress.
        let _answering = open[0].0.answering();
        let _one_more = connections.add_if_room().expect("one of them goes");
        assert_eq!(closed(&open).await, [1]);
    });
}

#[test]
fn of_connections_that_wait_the_oldest_of_the_client_with_the_most_goes() {
    in_runtime(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Stream::Tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let arrivals = Arc::new(Arrivals::default());
        let add = |last| {
            let from = Client::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
            let (arrival, task) = (arrivals.add(&silent, from), task());
            arrivals.served_by(arrival.id(), task.abort_handle());
            (arrival, task)
        };
        let few: Vec<_> = (0..MAX_WAITING / 4).map(|_| add(1)).collect();
        let many: Vec<_> = (few.len()..MAX_WAITING).map(|_| add(2)).collect();
        let latest = [add(3), add(4)];
        assert_eq!(closed(&many).await, [0, 1]);
        assert!(closed(&few).await.is_empty() && closed(&latest).await.is_empty());
    });
}
