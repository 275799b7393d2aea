//! Netlink: the messages, whatever they are about, and the one client that asks the kernel with them.

pub mod client;
pub mod link;
pub mod message;
pub mod timeouts;

pub use client::{Client, RequestError, ResponseHandler, Transport};
pub use link::{Link, LinkStatistics, links_request, parse_links};
pub use message::{
    Attribute, Attributes, DUMP, Malformed, Message, Progress, REQUEST, TooLong, attributes, messages,
    push_attribute, request,
};
