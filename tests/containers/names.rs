//! What the files of the engines say, whole, cut off, and wherever they cannot be what they should be.

use connscope::host::cgroup::hierarchies;
use connscope::host::inventory::identity::{ContainerMetadata, Name};
use connscope::host::inventory::names::{NameFiles, docker, kubelet, oci, podman};
use connscope::host::inventory::{Inventory, config};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const PODMAN: &str = "0d276a2bd4776624d4e348fa317037c2521c44d40dd8aada249c69e3e480229d";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers").join(name)).unwrap()
}

fn kubernetes() -> Name {
    let [namespace, pod, container] = ["prod", "web-0", "app"].map(str::to_owned);
    Name::Kubernetes { namespace, pod, container }
}

fn found(name: Name, runtime: &'static str, image: &str) -> ContainerMetadata {
    ContainerMetadata { name, runtime, image: image.to_owned() }
}

#[test]
fn docker_says_name_image_and_pod_in_its_file_and_over_its_socket() {
    let image = "registry.example.com/shop/web:1.2";
    let web = found(Name::Engine("docker", "web".to_owned()), "docker", image);
    assert_eq!(docker::parse(&fixture("docker/web.json")).as_ref(), Some(&web));
    assert_eq!(docker::parse(&fixture("docker/api.json")), Some(web));
    assert_eq!(docker::parse(&fixture("docker/pod.json")), Some(found(kubernetes(), "docker", image)));
    let sandbox = docker::parse(&fixture("docker/sandbox.json")).unwrap();
    assert!(matches!(sandbox.name, Name::Sandbox(_)), "{sandbox:?}");
}

#[test]
fn a_bundle_says_the_pod_in_its_annotations() {
    let image = "docker.io/library/busybox:latest";
    assert_eq!(oci::parse(&fixture("oci/containerd.json")), Some(found(kubernetes(), "containerd", image)));
    assert_eq!(oci::parse(&fixture("oci/moby.json")), None);
    // As CRI-O writes them.
    let crio = br#"{"annotations":{"io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.container.name":"app",
        "io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod","io.kubernetes.cri-o.ImageName":"x:1"}}"#;
    assert_eq!(oci::parse(crio), Some(found(kubernetes(), "cri-o", "x:1")));
    let pause = br#"{"annotations":{"io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.container.name":"POD",
        "io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod"}}"#;
    let pod = Some(("prod".to_owned(), "web-0".to_owned()));
    assert_eq!(oci::parse(pause).map(|found| found.name), Some(Name::Sandbox(pod)));
}

#[test]
fn podman_and_the_kubelet_have_lists() {
    let list = fixture("podman/containers.json");
    let db = found(Name::Engine("podman", "db".to_owned()), "podman", "registry.example.com/shop/db:3");
    assert_eq!(podman::parse(&list, PODMAN), Some(db));
    assert_eq!(podman::parse(&list, ID), None);
    assert_eq!(kubelet::parse(&format!("web-0_prod_app-{ID}.log"), ID), Some(found(kubernetes(), "", "")));
    for other in
        [format!("web-0_prod_app-{PODMAN}.log"), format!("web-0_prod-{ID}.log"), format!("__-{ID}.log")]
    {
        assert_eq!(kubelet::parse(&other, ID), None, "{other}");
    }
    assert_eq!(kubelet::parse("web-0_prod_app-.log", ""), None);
}

#[test]
fn no_beginning_of_a_file_and_no_other_json_breaks_a_parser() {
    for name in [
        "docker/web.json",
        "docker/api.json",
        "oci/moby.json",
        "oci/containerd.json",
        "podman/containers.json",
    ] {
        let text = fixture(name);
        for end in 0..text.len() {
            let beginning = &text[..end];
            // Of the whole file only its last line break may be missing.
            let whole = beginning.trim_ascii_end().len() == text.trim_ascii_end().len();
            let parsed = [docker::parse(beginning), oci::parse(beginning), podman::parse(beginning, PODMAN)];
            assert!(whole || parsed.iter().all(Option::is_none), "{name}, {end} bytes: {parsed:?}");
        }
    }
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "[null]",
        r#"{"Name":7}"#,
        r#"{"Name":"/"}"#,
        r#"{"annotations":[]}"#,
        "\u{0}",
    ] {
        let text = text.as_bytes();
        assert_eq!([docker::parse(text), oci::parse(text), podman::parse(text, "")], [None, None, None]);
    }
}

/// A folder with one engine's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, text: &[u8]) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// What the files say, and whether one was closed.
    fn names(&self) -> (Option<ContainerMetadata>, bool) {
        let mut names = NameFiles::below(self.0.path(), &config::Names::default());
        (names.of(ID), names.denied)
    }
}

/// Each place, with a file in it that says a name.
fn places() -> [(String, Vec<u8>); 4] {
    let list = String::from_utf8(fixture("podman/containers.json")).unwrap().replace(PODMAN, ID);
    [
        (format!("var/lib/docker/containers/{ID}/config.v2.json"), fixture("docker/web.json")),
        (
            format!("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"),
            fixture("oci/containerd.json"),
        ),
        (
            format!("run/containers/storage/overlay-containers/{ID}/userdata/config.json"),
            fixture("oci/containerd.json"),
        ),
        ("var/lib/containers/storage/overlay-containers/containers.json".to_owned(), list.into_bytes()),
    ]
}

#[test]
fn every_place_gives_a_name_and_costs_no_more_than_that_where_it_makes_no_sense() {
    assert_eq!(Folder::new().names(), (None, false), "nothing is there");
    for (file, text) in places() {
        let folder = Folder::new();
        folder.write(&file, &text);
        assert!(folder.names().0.is_some(), "{file}");
        folder.write(&file, b"no JSON");
        assert_eq!(folder.names(), (None, false), "{file}: no JSON");
        let long = [&text[..], &vec![b' '; 2 << 20]].concat();
        folder.write(&file, &long);
        assert_eq!(folder.names(), (None, false), "{file}: 2 MiB");
        let path = folder.path(&file);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(folder.names(), (None, false), "{file}: a directory");
        std::fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(folder.names(), (None, false), "{file}: a fifo, which nobody writes to");
        std::fs::remove_file(&path).unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(elsewhere.path(), &text).unwrap();
        symlink(elsewhere.path(), &path).unwrap();
        assert_eq!(folder.names(), (None, false), "{file}: a link to elsewhere");
        std::fs::remove_file(&path).unwrap();
        // A link instead of a directory.
        let parent = path.parent().unwrap();
        std::fs::remove_dir(parent).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join(path.file_name().unwrap()), &text).unwrap();
        symlink(elsewhere.path(), parent).unwrap();
        assert_eq!(folder.names().0, None, "{file}: below a link");
    }
    let folder = Folder::new();
    symlink("/var/log/pods/x", folder.path(&format!("var/log/containers/web-0_prod_app-{ID}.log"))).unwrap();
    assert_eq!(folder.names().0.map(|found| found.name), Some(kubernetes()), "the link's name says it");
}

#[test]
fn the_directory_of_an_engine_may_itself_be_a_link() {
    let folder = Folder::new();
    let (file, text) = &places()[0];
    folder.write(&file.replace("var/lib/docker", "data"), text);
    std::fs::create_dir_all(folder.path("var/lib/x").parent().unwrap()).unwrap();
    symlink(folder.path("data"), folder.path("var/lib/docker")).unwrap();
    assert!(folder.names().0.is_some());
}

#[test]
fn a_file_that_is_closed_to_this_process_is_noticed() {
    let (file, text) = &places()[0];
    let folder = Folder::new();
    folder.write(file, text);
    let path = folder.path(file);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if chown(&path, Some(12345), Some(12345)).is_err() {
        crate::support::skipped("needs root to give a file to somebody else");
        return;
    }
    assert!(folder.names().0.is_some(), "root reads it");
    let closed = crate::host::without(
        rustix::thread::CapabilitySet::DAC_OVERRIDE | rustix::thread::CapabilitySet::DAC_READ_SEARCH,
        || folder.names(),
    );
    assert_eq!(closed, (None, true));
}

#[test]
fn a_closed_file_is_reported_in_every_cycle_and_not_only_when_names_are_asked_for() {
    let folder = Folder::new();
    // As root is root by its capabilities alone, so are the engines of this machine closed to this thread.
    let closed = folder.path("var/lib/docker/containers");
    std::fs::create_dir_all(&closed).unwrap();
    let Some(group) = TestGroup::new() else { return };
    let settings = config::Inventory { root: folder.0.path().to_owned(), ..config::Inventory::default() };
    let inventory = Inventory::new(&settings);
    if chown(&closed, Some(12345), Some(12345)).is_err() {
        return;
    }
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let dropped =
        rustix::thread::CapabilitySet::DAC_OVERRIDE | rustix::thread::CapabilitySet::DAC_READ_SEARCH;
    crate::host::without(dropped, || {
        for _ in 0..3 {
            inventory.refresh().unwrap();
            assert!(
                inventory
                    .containers()
                    .iter()
                    .any(|one| *one.workload.identity == *format!("/container/{}", group.id))
            );
            let error = inventory.denied().expect("it is still closed");
            assert_eq!(error.capability(), Some("CAP_DAC_READ_SEARCH"));
            std::thread::sleep(std::time::Duration::from_millis(120)); // a walk is shared for 100 ms
        }
    });
}

/// An empty control group with the name of a container.
struct TestGroup {
    id: String,
    path: PathBuf,
}

impl TestGroup {
    fn new() -> Option<Self> {
        let id = format!("{:064x}", std::process::id());
        let mount = hierarchies().ok()?.into_iter().next()?.mount;
        let path = mount.point.join(&id);
        if std::fs::create_dir(&path).is_err() {
            crate::support::skipped("needs root to make a control group");
            return None;
        }
        Some(Self { id, path })
    }
}

impl Drop for TestGroup {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir(&self.path);
    }
}
