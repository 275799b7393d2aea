//! What several sources need to know of the machine: its network namespaces, and what their containers are called.

mod containers;
mod netns;
