//! Delays that are not those of long-lived processes: of threads that live a millisecond, of disks, and of what the agent did
//! not hear.

use super::value;
use super::waiting::{Watch, groups, named};
use crate::support::engine::Docker;
use crate::support::{Namespace, eventually, sample, skipped};
use rustix::process::Signal;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SYSCTL: &str = "/proc/sys/kernel/task_delayacct";

/// The sysctl that counts waits for disks, for the whole machine: it is put back at the end.
struct Accounting {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Accounting {
    fn on() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::fs::read_to_string(SYSCTL).ok()?;
        if let Err(why) = std::fs::write(SYSCTL, "1") {
            skipped(&format!("needs root to set kernel.task_delayacct: {why}"));
            return None;
        }
        Some(Self { before, _alone: alone })
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        std::fs::write(SYSCTL, self.before.trim()).unwrap();
    }
}

#[test]
fn waits_for_disks_are_the_same_by_programs_and_by_taskstats_and_absent_while_they_are_not_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let Some(_accounting) = Accounting::on() else { return };
    let watches = [Watch::new(&docker, "delay: bpf", &[]), Watch::new(&docker, "delay: taskstats", &[])];
    let script = "dd if=/dev/zero of=/big bs=1M count=32 && sync && while [ ! -e /go ]; do sleep 1; done; \
                  for n in 1 2 3; do dd if=/big of=/dev/null bs=16k iflag=direct; done; echo done; sleep 600";
    docker.run("reader", &[], &["sh", "-c", script]);
    let metric = "container_disk_delay_time_seconds_total";
    let waited = |watch: &Watch| value(&watch.scrape(), metric, &[&named("reader")]);
    eventually("both know it", || watches.iter().all(|watch| waited(watch).is_some()));
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before: Vec<f64> = watches.iter().map(|watch| waited(watch).unwrap()).collect();
    docker.docker(&["cp", watches[0].file().to_str().unwrap(), "reader:/go"]);
    eventually("it has read", || docker.docker(&["logs", "reader"]).ends_with("done"));
    let more: Vec<f64> =
        watches.iter().zip(&before).map(|(watch, before)| waited(watch).unwrap() - before).collect();
    assert!(more[0] > 0.01, "{more:?}");
    assert!((more[0] - more[1]).abs() < 0.1 * more[0] + 0.02, "{more:?} by programs and by taskstats");
    std::fs::write(SYSCTL, "0").unwrap();
    for watch in &watches {
        assert_eq!(waited(watch), None, "not counted, so not reported");
        watch.scrape();
        watch.scrape();
        let said = watch.log().into_iter().filter(|line| line.contains("kernel.task_delayacct is 0"));
        assert_eq!(said.count(), 1, "{:?}", watch.log());
    }
}

#[test]
fn threads_that_live_a_millisecond_are_counted_as_taskstats_say_of_their_process() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watches = [Watch::new(&docker, "delay: bpf", &[]), Watch::new(&docker, "delay: taskstats", &[])];
    let id = docker.run("threads", &[], &["sleep", "600"]);
    let known = |watch: &Watch| value(&watch.scrape(), "container_info", &[&named("threads")]).is_some();
    eventually("both know it", || watches.iter().all(known));
    let waited = || watches.each_ref().map(|watch| watch.delay("threads"));
    let before = waited();
    // Each thread says at its end what it has waited for the one CPU that all have, beside a loop.
    let script = r#"
        use threads;
        use Time::HiRes "time";
        sub waited { open(my $file, "<", "/proc/thread-self/schedstat") or die; (split " ", <$file>)[1] }
        my $loop = fork();
        if (!$loop) { 1 while 1 }
        my $sum = 0;
        for (1 .. 100) {
            my @ten = map { threads->create(sub { my $end = time + 0.001; 1 while time < $end; waited() }) } 1 .. 10;
            $sum += $_->join for @ten;
        }
        kill STOP => $loop;
        open(my $file, "<", "/proc/$loop/schedstat") or die;
        my $of_loop = (split " ", <$file>)[1];
        kill KILL => $loop;
        printf "%.9f", ($sum + $of_loop + waited()) / 1e9;
    "#;
    let into: Vec<_> = groups(&docker, &id).iter().map(|group| group.join("cgroup.procs")).collect();
    let mut threads = Command::new("sh")
        .args(["-c", "for group; do echo $$ >$group; done; exec taskset 1 perl -e \"$SCRIPT\"", "sh"])
        .args(&into)
        .env("SCRIPT", script)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The process is known to taskstats before it ends.
    eventually("the threads have come and gone", || {
        waited();
        threads.try_wait().unwrap().is_some()
    });
    let mut said = String::new();
    threads.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let said: f64 = said.parse().unwrap();
    let mut latest = [0.0; 2];
    eventually("programs and taskstats say the same", || {
        let now = waited();
        latest = [now[0] - before[0], now[1] - before[1]];
        (latest[0] - latest[1]).abs() < 0.02 * latest[1] + 0.02
    });
    // What a thread waits after it has said what it did is missing there.
    assert!(latest[0] > 0.99 * said, "{latest:?} counted, {said} said");
}

#[test]
fn messages_of_exits_that_find_no_room_are_counted_as_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, "delay: taskstats", &[]);
    watch.via("delay", "taskstats");
    watch.signal(Signal::STOP);
    // The buffer of the socket has room for some thousand.
    let script = "for (1 .. 20000) { my $child = fork(); exit unless $child; waitpid($child, 0) }";
    assert!(Command::new("perl").args(["-e", script]).status().unwrap().success());
    watch.signal(Signal::CONT);
    let lost = || sample(&watch.scrape(), "connscope_containers_events_lost_total");
    eventually("what was lost is counted", || lost().is_some_and(|lost| lost > 0.0));
}
