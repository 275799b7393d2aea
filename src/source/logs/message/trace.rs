//! The lines of stack traces that are not indented (pure).

/// What the lines of a message so far say about the next one.
#[expect(clippy::struct_excessive_bools, reason = "each is of another language, and all may be so")]
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// In a traceback of Python, the line with the exception is to come.
    python: bool,
    /// Python says that one traceback follows from another, which is to come.
    python_again: bool,
    /// In what a Go program says when it panics.
    go: bool,
    /// Node.js has marked a place in the source with a line of carets.
    node: bool,
}

const AGAIN: [&str; 2] = [
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
];

impl Trace {
    /// After the first line of a message.
    pub(super) fn beginning(line: &str) -> Self {
        Self { python: is_python(line), go: is_go(line), ..Self::default() }
    }

    /// Takes note of a line that is indented.
    pub(super) fn indented(&mut self, line: &str) {
        let marks = line.trim();
        self.node |= !marks.is_empty() && marks.bytes().all(|byte| byte == b'^');
    }

    /// Whether a line that is not indented belongs to the trace.
    pub(super) fn continues(&mut self, line: &str) -> bool {
        let marked = std::mem::take(&mut self.node);
        let java = line.starts_with("Caused by: ");
        let dotnet = line.starts_with(" ---> ") || line.starts_with("--- End of ");
        let grpc = line.starts_with("for call at");
        if java || dotnet || grpc {
            return true;
        }
        if is_python(line) {
            self.python = true;
            return std::mem::take(&mut self.python_again);
        }
        if AGAIN.contains(&line) {
            self.python_again = true;
            return true;
        }
        if std::mem::take(&mut self.python) {
            return true;
        }
        self.go |= line.starts_with("goroutine ") && line.ends_with("]:");
        (self.go && is_of_go(line)) || marked || is_version_of_node(line)
    }
}

/// The last line when Node.js ends because of an exception.
fn is_version_of_node(line: &str) -> bool {
    line.strip_prefix("Node.js v").is_some_and(|version| !version.contains(' '))
}

fn is_python(line: &str) -> bool {
    line.starts_with("Traceback ")
}

fn is_go(line: &str) -> bool {
    ["panic: ", "fatal error: ", "goroutine "].iter().any(|begins| line.starts_with(begins))
}

/// Whether a line is of what the runtime of Go prints (`runtime/traceback.go`, `runtime/panic.go`): the heading of a
/// goroutine, a call without its arguments' spaces, a register.
fn is_of_go(line: &str) -> bool {
    let known =
        ["goroutine ", "created by ", "[signal ", "runtime stack:", "exit status ", "...additional frames"];
    let call = || {
        let function = line.split_once('(').filter(|_| line.ends_with(')'));
        function.is_some_and(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace))
    };
    let register =
        || line.rsplit_once(' ').is_some_and(|(name, value)| name.len() < 10 && value.starts_with("0x"));
    known.iter().any(|begins| line.starts_with(begins)) || call() || register()
}
