//! What the kernel knows of every socket.

pub mod diag;
pub mod tcp_info;
pub mod filter;
//! The sockets of the kernel.

pub mod cgroup;
pub mod process;
//! The sockets of the machine, as the kernel tells them over `sock_diag`.

pub mod select;
