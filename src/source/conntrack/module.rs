//! Whether connection tracking is there: the module `nf_conntrack`, loaded or built in.

use super::netlink::Socket;
use std::path::Path;

/// Its directory in `sysfs`: there with its parameters, also where it is built in.
const MODULE: &str = "/sys/module/nf_conntrack";

/// Directory of the module's sysctls.
pub(super) const SYSCTLS: &str = "/proc/sys/net/netfilter";

/// Whether it is loaded, as far as can be seen from here.
pub(super) fn is_loaded() -> bool {
    let counts = Path::new(SYSCTLS).join("nf_conntrack_count");
    Path::new(MODULE).exists()
        || counts.exists()
        || Socket::open().and_then(|mut socket| socket.global()).is_ok()
}

/// Why the sysctls do not exist.
pub(super) fn sysctls_missing() -> String {
    if !Path::new("/proc/sys/net").is_dir() {
        "there is no /proc/sys/net; is /proc/sys masked?".to_owned()
    } else if is_loaded() {
        format!("the module nf_conntrack is loaded, but {SYSCTLS} does not show it; is /proc/sys masked?")
    } else {
        "the module nf_conntrack is not loaded".to_owned()
    }
}
