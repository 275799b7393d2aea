//! Signals: one thread waits for them, whatever the others are doing, and ends the process in time.

use crate::stop::Stop;
use crate::timeouts;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Called once for every SIGHUP, on the thread that waits for signals.
pub type OnHangUp = Box<dyn Fn() + Send>;

/// How a command reacts to a signal.
pub enum ShutdownMode {
    /// The agent: one last cycle and its export. SIGHUP calls a function and does not end the agent.
    Drain(OnHangUp),
    /// A command that ends by itself: child processes are killed, and it ends with the results so far.
    Kill,
    /// A command that changes the terminal: SIGHUP and SIGQUIT end it as well, so that it can restore it.
    Restore,
}

/// Waits for SIGTERM and SIGINT on a thread of its own and stops what looks at `stop`. What does not end within
/// [`timeouts::FORCED_EXIT`] ends with the process: nothing that hangs keeps the agent alive.
pub fn listen(stop: &Stop, ending: ShutdownMode) -> io::Result<()> {
    let stop = stop.clone();
    let runtime = crate::runtime::of_one_thread("", 0)?;
    let listening = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut restored = None;
    let mut hang_up = match ending {
        ShutdownMode::Drain(what) => Some((signal(SignalKind::hangup())?, what)),
        ShutdownMode::Kill => None,
        ShutdownMode::Restore => {
            restored = Some((signal(SignalKind::hangup())?, signal(SignalKind::quit())?));
            None
        }
    };
    let kill = hang_up.is_none();
    drop(listening);
    let wait = move || {
        let name = runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return "SIGTERM",
                    _ = interrupt.recv() => return "SIGINT",
                    () = hung_up(hang_up.as_mut()) => {}
                    name = either(restored.as_mut()) => return name,
                }
            }
        });
        stop.drain();
        if kill {
            stop.kill();
        }
        tracing::info!("{name}, stopping");
        std::thread::sleep(timeouts::FORCED_EXIT);
        tracing::warn!("some threads did not stop in time; they end with the process");
        crate::log::flush();
        std::process::exit(i32::from(kill));
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

async fn hung_up(hang_up: Option<&mut (Signal, OnHangUp)>) {
    match hang_up {
        Some((signal, what)) => {
            signal.recv().await;
            what();
        }
        None => std::future::pending().await,
    }
}

async fn either(signals: Option<&mut (Signal, Signal)>) -> &'static str {
    match signals {
        Some((hang_up, quit)) => tokio::select! {
            _ = hang_up.recv() => "SIGHUP",
            _ = quit.recv() => "SIGQUIT",
        },
        None => std::future::pending().await,
    }
}
