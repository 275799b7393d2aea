//! The push over OTLP, against receivers in this process.
//!
//! What depends on the exact moment of a cycle is driven from here, with a source of the test's own; what depends on
//! variables, flags, certificates, signals and the log is asked of the program itself. HTTP is always spoken by the
//! program, in an environment of the test's making: a proxy that is set where the tests run would get it otherwise.

mod broken;
mod content;
mod endpoint;
mod jitter;
mod program;
mod push;
mod raw;
mod reach;
mod reference;
mod rejected;
mod request;
mod retry;
mod shutdown;
mod split;
mod start_times;
mod throttle;
mod tls;
mod variables;
