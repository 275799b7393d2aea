//! Whether the kernel module `nf_conntrack` is loaded or built in.

use super::netlink::Socket;
use std::path::Path;

/// Directory of the module in sysfs; exists with its parameters, also if the module is built in.
const MODULE: &str = "/sys/module/nf_conntrack";

/// Directory of the module's sysctls.
pub(super) const SYSCTLS: &str = "/proc/sys/net/netfilter";

/// Whether the module is loaded, as far as procfs and sysfs show it.
pub(super) fn is_loaded() -> bool {
    let counts = Path::new(SYSCTLS).join("nf_conntrack_count");
    Path::new(MODULE).exists()
        || counts.exists()
        || Socket::open().and_then(|mut socket| socket.global()).is_ok()
}

/// The reason why the sysctls do not exist.
pub(super) fn sysctls_missing() -> String {
    if !Path::new("/proc/sys/net").is_dir() {
        "there is no /proc/sys/net; is /proc/sys masked?".to_owned()
    } else if is_loaded() {
        format!("the module nf_conntrack is loaded, but {SYSCTLS} does not show it; is /proc/sys masked?")
    } else {
        "the module nf_conntrack is not loaded".to_owned()
    }
}
