//! A terminal that tmux emulates, to see what a person would see.

use super::{eventually, skipped};
use std::process::Command;
use std::sync::Mutex;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Prints the exit code and the state of the terminal: whether it takes lines, and echoes.
pub(crate) const STATE: &str =
    "echo \"code $?\"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e -icanon -e echo -e -echo";

/// A terminal: a server of tmux with one window, in which a shell runs the program.
pub(crate) struct Window {
    folder: tempfile::TempDir,
}

impl Drop for Window {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

impl Window {
    /// A shell in a window of this size. `None` without tmux; in CI it must be there.
    pub(crate) fn new(wide: u16, high: u16) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skipped("there is no tmux: make test installs it");
            return None;
        }
        let window = Self { folder: tempfile::tempdir().unwrap() };
        let (wide, high) = (wide.to_string(), high.to_string());
        let shell = "exec env -i PATH=\"$PATH\" TERM=screen PS1='$ ' LANG=C.UTF-8 sh";
        window.tmux(&["new-session", "-d", "-x", &wide, "-y", &high, shell]);
        Some(window)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let socket = self.folder.path().join("socket");
        let mut tmux = Command::new("tmux");
        tmux.env("LANG", "C.UTF-8").args(["-u", "-f", "/dev/null", "-S"]).arg(socket).args(arguments);
        text(&tmux.output().unwrap().stdout)
    }

    /// Types a line into the shell.
    pub(crate) fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Starts the program; then the shell prints its exit code and the state of the terminal.
    pub(crate) fn start(&self, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_connscope");
        self.run(&format!("clear; {program} {arguments}; {STATE}"));
    }

    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p"]).lines().map(str::to_owned).collect()
    }

    /// Waits for a screen.
    pub(crate) fn until(&self, what: &str, so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        let last = Mutex::new(Vec::new());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                lines = self.lines();
                last.lock().unwrap().clone_from(&lines);
                so(&lines)
            });
        }));
        assert!(outcome.is_ok(), "{what}:\n{}", last.lock().unwrap().join("\n"));
        lines
    }

    /// Waits for a line that contains a text.
    pub(crate) fn shows(&self, wanted: &str) -> String {
        let lines = self.until(wanted, |lines| lines.iter().any(|line| line.contains(wanted)));
        lines.into_iter().find(|line| line.contains(wanted)).unwrap()
    }

    /// Waits for the shell, with the exit code, a cooked terminal that echoes, and the main screen.
    pub(crate) fn restored(&self, code: u8) {
        self.until("the shell is back", |lines| {
            let has = |wanted: &str| lines.iter().any(|line| line.trim() == wanted);
            has(&format!("code {code}")) && has("icanon") && has("echo")
        });
        assert_eq!(self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim(), "0 1");
    }
}
