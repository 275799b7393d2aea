//! Netlink: the messages, whatever they are about, and asking the kernel with them.

pub mod message;

pub use message::{
    Attribute, Attributes, DUMP, Malformed, Message, Progress, REQUEST, TooLong, attributes, messages,
    push_attribute, request,
};
