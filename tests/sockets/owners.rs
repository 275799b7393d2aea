//! Whose sockets they are: user, process, control group.

use super::{INCOMING, OUTGOING, Probe, connection, listener};
use crate::support::agent::copy_program;
use crate::support::{Namespace, PATIENCE, eventually, skipped};
use connscope::host::cgroup;
use connscope::source::sockets::owners::ByCgroup;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::thread::{Gid, Uid};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn sockets_are_grouped_by_the_user_who_made_them() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let own = connection(&listener, "127.0.0.1:4000");
        let others = namespace.inside(|| {
            // Of this thread alone, which ends here.
            rustix::thread::set_thread_res_gid(
                Gid::from_raw(65534),
                Gid::from_raw(65534),
                Gid::from_raw(65534),
            )
            .unwrap();
            rustix::thread::set_thread_res_uid(
                Uid::from_raw(65534),
                Uid::from_raw(65534),
                Uid::from_raw(65534),
            )
            .unwrap();
            TcpStream::connect("127.0.0.1:4000").unwrap()
        });
        let accepted = listener.accept().unwrap();
        let numbers = Probe::new("group_by: [uid, direction]").read();
        let open = |labels: &[&str]| numbers.sum("tcp.open_connections", labels);
        assert_eq!(open(&["user.id=65534", OUTGOING]), 1.0);
        assert_eq!(open(&["user.id=0", OUTGOING]), 1.0);
        assert_eq!(open(&["user.id=0", INCOMING]), 2.0);
        drop((own, others, accepted));
    });
}

/// A process that does nothing, with a socket as its input.
pub(super) struct Holder(Child);

impl Holder {
    pub(super) fn new(name: &str, socket: impl Into<OwnedFd>) -> Self {
        // `exec -a` names the process for `ps`, not for the kernel; a link to the program does both.
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        copy_program("/bin/sleep".as_ref(), &program);
        let mut command = Command::new(&program);
        command.arg("600").stdin(Stdio::from(socket.into())).arg0(name);
        let child = command.spawn().unwrap();
        let comm = format!("/proc/{}/comm", child.id());
        eventually("it runs", || std::fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() == name));
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn sockets_are_grouped_by_the_process_that_holds_them() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{group_by: [process, direction], process_budget: 10s}");
        let (client, server) = connection(&listener, "127.0.0.1:4000");
        let client = Holder::new("hello-client", client);
        let server = Holder::new("hello-server", server);
        let numbers = probe.read();
        let name = |name: &str| format!("process.executable.name={name}");
        let open = |labels: &[&str]| numbers.sum("tcp.open_connections", labels);
        assert_eq!(open(&[&name("hello-client"), OUTGOING]), 1.0, "{numbers:#?}");
        assert_eq!(open(&[&name("hello-server"), INCOMING]), 1.0);
        assert_eq!(numbers.became("opened", &[&name("hello-client")]), 1.0);
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let queue = numbers.sum("tcp.listen.queue.limit", &[&name(own.trim())]);
        assert!(queue > 0.0, "the listener is ours: {numbers:#?}");
        drop(client);
        let numbers = probe.until("the client's end is over", |numbers| {
            numbers.became("closed", &[&name("hello-client")]) == 1.0
        });
        assert_eq!(numbers.became("closed", &[]), 1.0);
        // What nobody could look into in time: the one end is of an unknown process, the other of who listens there.
        let short = connection(&listener, "127.0.0.1:4000");
        drop(short);
        let numbers = probe.until("both ends have closed", |numbers| {
            numbers.became("closed", &[INCOMING, &name(own.trim())]) == 1.0
                && numbers.became("closed", &[OUTGOING, &name("~unknown")]) == 1.0
        });
        assert_eq!(numbers.became("opened", &[&name("~unknown")]), 1.0);
        drop(server);
    });
}

#[test]
fn a_connection_that_nobody_has_accepted_yet_waits_for_who_will() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{group_by: [process, direction], process_budget: 10s}");
        let client = TcpStream::connect("127.0.0.1:4000").unwrap();
        let numbers = probe.read();
        assert_eq!(numbers.became("opened", &[INCOMING]), 0.0, "{numbers:#?}");
        let server = listener.accept().unwrap();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let own = format!("process.executable.name={}", own.trim());
        let numbers = probe.read();
        assert_eq!(numbers.became("opened", &[INCOMING, &own]), 1.0, "{numbers:#?}");
        assert_eq!(numbers.became("opened", &[]), 2.0);
        // One that is never accepted is counted when it ends.
        let other = TcpStream::connect("127.0.0.1:4000").unwrap();
        probe.read();
        drop((client, server, other, listener));
        let numbers = probe.until("all are over", |numbers| {
            numbers.became("closed", &[]) + numbers.became("reset", &[]) == 4.0
        });
        assert_eq!(numbers.became("opened", &[]), 4.0);
    });
}

/// Sockets in a message that nobody has received are no process's.
#[test]
fn nobody_looks_for_the_process_of_what_is_not_remembered() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let (sender, _receiver) = UnixStream::pair().unwrap();
        let pairs: Vec<_> = (0..5).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        for (client, server) in &pairs {
            let ends = [client.as_fd(), server.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            assert!(message.push(SendAncillaryMessage::ScmRights(&ends)));
            rustix::net::sendmsg(&sender, &[IoSlice::new(b"1")], &mut message, SendFlags::empty()).unwrap();
        }
        drop(pairs);
        let unattributed = |track: usize| {
            let yaml = format!("{{group_by: [process], process_budget: 10s, timeout: 60s, track: {track}}}");
            Probe::new(&yaml).read().sum("connscope.sockets.unattributed", &[])
        };
        assert_eq!(unattributed(11), 10.0);
        assert_eq!(unattributed(4), 3.0, "the listener, and three of them");
    });
}

#[test]
fn a_process_cannot_pass_for_what_is_left_out() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{group_by: [process], process_budget: 10s}");
        drop(connection(&listener, "127.0.0.1:4000"));
        probe.until("it is over", |numbers| numbers.became("closed", &[]) == 2.0);
        let (client, server) = connection(&listener, "127.0.0.1:4000");
        let pretender = Holder::new("~unknown", client);
        // That no series is repeated is looked at in every cycle.
        let numbers = probe.read();
        assert_eq!(numbers.became("opened", &["process.executable.name=~unknown"]), 1.0);
        let names = numbers.values("tcp.open_connections", "process.executable.name");
        let named: Vec<_> = names.iter().filter(|name| name.starts_with("~unknown…")).collect();
        let [named] = &*named else { panic!("{names:?}") };
        assert_eq!(numbers.became("opened", &[&format!("process.executable.name={named}")]), 1.0);
        drop((pretender, server));
    });
}

#[test]
fn sockets_are_grouped_by_the_control_group_of_their_process() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(path) = cgroup::of_process(std::process::id()) else {
        return skipped("this process is in no control group");
    };
    // Somebody else on this machine may begin or cease to use version 2 at any time: another test runs containers.
    let by_id = || matches!(ByCgroup::detect(), ByCgroup::Id(_));
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let pair = connection(&listener, "127.0.0.1:4000");
        let until = Instant::now() + 3 * PATIENCE;
        let numbers = loop {
            let before = by_id();
            let numbers =
                Probe::new("{group_by: [cgroup, container, direction], process_budget: 10s}").read();
            if !before && !by_id() {
                break numbers;
            }
            if Instant::now() > until {
                return skipped("sockets have control groups of version 2 here");
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let open = |labels: &[&str]| numbers.sum("tcp.open_connections", labels);
        let cgroup = format!("cgroup={path}");
        assert_eq!(open(&[&cgroup, OUTGOING]), 1.0, "{numbers:#?}");
        assert_eq!(open(&[&cgroup, INCOMING]), 1.0);
        let container: Vec<String> = cgroup::container(&path).map(str::to_owned).into_iter().collect();
        assert_eq!(numbers.values("tcp.open_connections", "container.id"), container);
        drop(pair);
    });
}
