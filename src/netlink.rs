//! Netlink: the messages, whatever they are about, and the one client that asks the kernel with them.

pub mod client;
pub mod ctnetlink;
pub mod link;
pub mod message;
pub mod nf_tables;
pub mod timeouts;
pub mod wake;

pub use client::{Client, RequestError, ResponseHandler, Transport};
pub use link::{Link, LinkStatistics, links_request, parse_links};
pub use message::{
    Attribute, Attributes, DUMP, Malformed, Message, NFGENMSG, Progress, REQUEST, TooLong, attributes,
    messages, push_attribute, request,
};
pub use wake::{Waker, Wakeup};
