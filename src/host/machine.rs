//! The id of the machine, as in coroot-node-agent: `/etc/machine-id`, else the product UUID, without dashes.

use std::path::Path;
use std::sync::Arc;

/// Maximum number of bytes read of a file with an id.
const MAX_FILE_BYTES: u64 = 256;

/// The id of the machine whose files are below a root; empty if it has none.
pub fn id(root: &Path) -> Arc<str> {
    let files = [root.join("etc/machine-id"), "/sys/class/dmi/id/product_uuid".into()];
    let ids = files.iter().filter_map(|file| parse(&crate::sys::read_limited(file, MAX_FILE_BYTES).ok()?));
    ids.into_iter().next().unwrap_or_default().into()
}

/// The id in a text, without its dashes; `None` if there is none (`uninitialized`).
fn parse(text: &str) -> Option<String> {
    let id: String = text.trim().chars().filter(|character| *character != '-').collect();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_machine_is_known_by_32_digits_without_dashes() {
        let id = "0f5e7d3c1a2b4c3d8e9f0123456789ab";
        assert_eq!(parse(&format!("{id}\n")).as_deref(), Some(id));
        assert_eq!(parse("0F5E7D3C-1A2B-4C3D-8E9F-0123456789AB\n").as_deref(), Some(id));
        assert_eq!(parse("uninitialized\n"), None);
        assert_eq!(parse(""), None);
    }
}
