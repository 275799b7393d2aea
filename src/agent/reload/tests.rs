//! Reloads that break or wait.

use super::{Config, Given, Load, PANICKED, Reloader};
use crate::stop::Stop;
use crate::web::lifecycle::ReloadRequests;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

/// Nothing is collected or exported.
const NOTHING: &str = "\
resource: {cloud: {detect: off}}
export: {otlp: {protocol: none}, prometheus: {listen: 'off'}}
sources: {conntrack: {enabled: false}, sockets: {enabled: false}, network: {enabled: false}}
";

fn nothing() -> Config {
    Config::parse(NOTHING, Path::new("connscope.yaml")).unwrap()
}

/// An agent with this configuration that reloads by `load`, and what would end it.
fn started(load: Load) -> (Reloader, UnboundedReceiver<String>, Runtime) {
    let runtime = crate::runtime::of_one_thread("tests", 1).unwrap();
    let (reloads, _queue) = ReloadRequests::channel();
    let (failed, failure) = tokio::sync::mpsc::unbounded_channel();
    let resource = crate::export::resource::resource(&nothing());
    let given = Given { load, handed_over: Vec::new(), resource };
    let stop = Stop::new().unwrap();
    let started = super::super::start(nothing(), given, Vec::new(), reloads, failed, runtime.handle(), &stop);
    (started.unwrap(), failure, runtime)
}

#[test]
fn a_reload_that_panics_is_refused() {
    let (reloader, mut failure, _runtime) = started(Box::new(|| panic!("a defect")));
    assert!(!reloader.loads.is_refused());
    assert_eq!(reloader.reload(), Err(PANICKED.to_owned()));
    assert!(reloader.loads.is_refused());
    assert!(failure.try_recv().is_err(), "nothing has changed");
}

#[test]
fn a_panic_after_which_nothing_is_undone_ends_the_agent() {
    let (reloader, mut failure, _runtime) = started(Box::new(|| Ok(nothing())));
    reloader.or_end(|| Ok(()));
    assert!(failure.try_recv().is_err());
    reloader.or_end(|| panic!("a defect"));
    assert_eq!(failure.try_recv().as_deref(), Ok(PANICKED));
}

#[test]
fn a_stop_does_not_wait_for_a_reload_that_reads() {
    let ((reading, is_reading), (go, gone)) = (channel(), channel::<()>());
    let gone = Mutex::new(gone);
    let load = move || {
        reading.send(()).unwrap();
        let _go = gone.lock().unwrap().recv_timeout(Duration::from_mins(1));
        Ok(nothing())
    };
    let (reloader, _failure, _runtime) = started(Box::new(load));
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| reloader.reload());
        is_reading.recv().unwrap();
        assert!(reloader.take().is_some() && !reload.is_finished());
        go.send(()).unwrap();
        assert_eq!(reload.join().unwrap(), Err("the agent is stopping".to_owned()));
    });
    assert!(!reloader.loads.is_refused());
}
