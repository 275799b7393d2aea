//! Which cloud the machine is in, by what its firmware and its hypervisor say of themselves: no packet is sent for it.

use super::provider::Provider;
use std::path::Path;

/// Most that is read of a file.
const MAX_FILE_BYTES: u64 = 256;

/// The files, in the order in which they are looked at; what they begin with, and whose that is.
const MARKS: &[(&str, &str, Provider)] = &[
    // The virtual machines of Xen.
    ("sys/hypervisor/uuid", "ec2", Provider::Aws),
    ("sys/class/dmi/id/board_vendor", "Amazon EC2", Provider::Aws),
    ("sys/class/dmi/id/board_vendor", "Google", Provider::Gcp),
    ("sys/class/dmi/id/board_vendor", "DigitalOcean", Provider::DigitalOcean),
    ("sys/class/dmi/id/sys_vendor", "Amazon EC2", Provider::Aws),
    ("sys/class/dmi/id/sys_vendor", "DigitalOcean", Provider::DigitalOcean),
    ("sys/class/dmi/id/sys_vendor", "Hetzner", Provider::Hetzner),
    ("sys/class/dmi/id/sys_vendor", "Alibaba Cloud", Provider::Alibaba),
    ("sys/class/dmi/id/chassis_vendor", "Amazon EC2", Provider::Aws),
    ("sys/class/dmi/id/chassis_asset_tag", "OracleCloud.com", Provider::Oracle),
    // Azure's virtual machines have this tag. The vendor, Microsoft Corporation, is that of every virtual machine of Hyper-V.
    ("sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", Provider::Azure),
];

/// The cloud that the files below the first of these roots name which has any.
pub fn provider(roots: &[&Path]) -> Option<Provider> {
    roots.iter().find_map(|root| {
        MARKS.iter().find_map(|(file, mark, provider)| {
            let text = crate::sys::read_limited(root.join(file), MAX_FILE_BYTES).ok()?;
            is_mark(file, &text, mark).then_some(*provider)
        })
    })
}

/// Whether a file names a cloud: the UUID by its beginning, the others as a whole.
fn is_mark(file: &str, text: &str, mark: &str) -> bool {
    let text = text.trim();
    if file.ends_with("uuid") {
        text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark))
    } else {
        text == mark
    }
}
