//! What leaves the agent.

mod otlp;
