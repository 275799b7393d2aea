//! Mounts as the kernel lists them, and what they are called outside.

use connscope::source::containers::volumes::mountinfo::{BlockMount, parse};
use connscope::source::containers::volumes::origin::{self, Origin};
use std::path::Path;

fn fixture() -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers/proc/linux-6.18-mountinfo");
    std::fs::read(path).unwrap()
}

fn mount(device: (u32, u32), root: &str, point: &str) -> BlockMount {
    BlockMount { device, root: root.into(), point: point.into() }
}

#[test]
fn mounts_with_a_block_device_are_the_volume_and_the_bind_mount_of_a_container() {
    let text = fixture();
    let data = mount((254, 0), "/var/lib/docker/volumes/data/_data", "/data");
    let bind = mount((254, 0), "/srv/bind", "/srv/with space");
    assert_eq!(parse(&text), [data, bind]);
    let whole = parse(&text);
    for length in 0..text.len() {
        let part = parse(&text[..length]);
        assert!(part.iter().all(|mount| whole.contains(mount)), "{length}: {part:?}");
    }
}

#[test]
fn what_is_mounted_over_another_is_what_counts() {
    let ext4 = "30 20 8:1 / /data rw - ext4 /dev/sda1 rw\n";
    let other = "31 30 8:2 / /data rw - ext4 /dev/sda2 rw\n";
    let tmpfs = "31 30 0:40 / /data rw - tmpfs tmpfs rw\n";
    assert_eq!(parse([ext4, other].concat().as_bytes()), [mount((8, 2), "/", "/data")]);
    assert_eq!(parse([ext4, tmpfs].concat().as_bytes()), []);
}

#[test]
fn lines_that_no_kernel_writes_are_skipped() {
    let odd: &[&[u8]] = &[
        b"\n",
        b"1 2 8:1 / /a rw ext4 /dev/sda1 rw\n",
        b"1 2 8 / /a rw - ext4 /dev/sda1 rw\n",
        b"1 2 -8:1 / /a rw - ext4 /dev/sda1 rw\n",
        b"1 2 8:4294967296 / /a rw - ext4 /dev/sda1 rw\n",
        b"1 2 8:1 / a rw - ext4 /dev/sda1 rw\n",
        b"1 2 8:1 /gone//deleted /a rw - ext4 /dev/sda1 rw\n",
        b"1 2 8:1 / /\xff rw - ext4 /dev/sda1 rw\n",
        b"1 2 8:1 / /a rw - ext4 /dev/sda1 rw",
    ];
    assert_eq!(parse(&odd.concat()), []);
}

#[test]
fn a_volume_goes_by_the_name_of_docker_or_of_the_kubelet() {
    let of = |root: &str, host: &[BlockMount]| {
        let Origin { provisioner, volume } = origin::of(&mount((8, 1), root, "/data"), host);
        format!("{provisioner} {volume}")
    };
    let host = [mount((8, 1), "/", "/"), mount((8, 2), "/", "/boot")];
    assert_eq!(of("/var/lib/docker/volumes/data/_data", &host), " data");
    // Docker's folder is a file system of its own, and cannot be seen.
    assert_eq!(of("/volumes/data/_data", &[]), " data");
    assert_eq!(of("/srv/files", &host), " ", "a directory of the host");
    let pods = "/var/lib/kubelet/pods/5f3e0000-1111-2222-3333-444455556666/volumes";
    assert_eq!(of(&format!("{pods}/kubernetes.io~empty-dir/cache"), &host), "empty-dir cache");
    // A disk of its own, which the kubelet has mounted.
    let disk = [mount((8, 1), "/", &format!("{pods}/kubernetes.io~csi/pvc-42/mount"))];
    assert_eq!(of("/", &disk), "csi pvc-42");
    assert_eq!(of("/sub/path", &disk), "csi pvc-42");
    // Mounted at several places of the host.
    let twice =
        [mount((8, 1), "/", "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount"), disk[0].clone()];
    assert_eq!(of("/", &twice), "csi pvc-42");
    // The host mounts a part of the file system.
    let part = [mount((8, 1), "/docker", "/var/lib/docker")];
    assert_eq!(of("/docker/volumes/data/_data", &part), " data");
    assert_eq!(of("/dockers/volumes", &part), " ");
}
