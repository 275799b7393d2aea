//! The cloud: what DMI names, what metadata services answer, and what the agent makes of it.

mod agent;
mod answers;
mod fake;
