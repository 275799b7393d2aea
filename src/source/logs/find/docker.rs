//! Where Docker keeps the log of a container: `config.v2.json` and `hostconfig.json` in its directory.
//!
//! The formats are `container.Container` of `github.com/moby/moby/container/container.go` and `container.HostConfig` of
//! `github.com/moby/moby/api/types/container/hostconfig.go`. `LogPath` is set when the container is started, by the driver
//! `json-file` alone.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Most that is read of one of the files.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The log of a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DockerLog {
    /// The file of the driver `json-file`.
    File(PathBuf),
    /// The container has another driver.
    Other(String),
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "LogPath", default)]
    log_path: PathBuf,
}

#[derive(Deserialize)]
struct HostConfig {
    #[serde(rename = "LogConfig")]
    log_config: LogConfig,
}

#[derive(Deserialize)]
struct LogConfig {
    #[serde(rename = "Type", default)]
    driver: String,
}

/// The log of the container in a directory; `None` where that cannot be read, or is not said yet.
pub(super) fn log(directory: &Path) -> Option<DockerLog> {
    let read = |name: &str| crate::sys::read_regular(directory.join(name), MAX_FILE_BYTES).ok();
    parse(&read("config.v2.json")?, &read("hostconfig.json")?)
}

/// The log in the directory of its container, where Docker writes it; that may be mounted elsewhere than Docker has it.
pub(super) fn beside(log: &Path, directory: &Path) -> Option<PathBuf> {
    let same = log.parent()?.file_name()? == directory.file_name()?;
    same.then_some(directory.join(log.file_name()?))
}

fn parse(container: &[u8], host: &[u8]) -> Option<DockerLog> {
    let Container { log_path } = serde_json::from_slice(container).ok()?;
    let HostConfig { log_config: LogConfig { driver } } = serde_json::from_slice(host).ok()?;
    match &*driver {
        "json-file" if log_path.is_absolute() => Some(DockerLog::File(log_path)),
        "json-file" | "" => None,
        _ => Some(DockerLog::Other(crate::text::bounded(&driver, crate::text::LONGEST_NAME))),
    }
}

#[cfg(test)]
mod tests {
    use super::{DockerLog, beside, parse};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_log_is_found_where_the_folder_of_docker_is_mounted() {
        let mounted = Path::new("/host/docker/containers/ab");
        let found = beside(Path::new("/srv/docker/containers/ab/ab-json.log"), mounted);
        assert_eq!(found, Some(PathBuf::from("/host/docker/containers/ab/ab-json.log")));
        assert_eq!(beside(Path::new("/srv/logs/ab-json.log"), mounted), None);
    }

    #[test]
    fn only_the_driver_json_file_has_a_file() {
        let container = br#"{"ID":"ab","Name":"/web","LogPath":"/var/lib/docker/containers/ab/ab-json.log"}"#;
        let driver = |name: &str| format!(r#"{{"LogConfig":{{"Type":"{name}","Config":{{}}}}}}"#);
        let path = "/var/lib/docker/containers/ab/ab-json.log".into();
        assert_eq!(parse(container, driver("json-file").as_bytes()), Some(DockerLog::File(path)));
        assert_eq!(
            parse(br#"{"LogPath":""}"#, driver("local").as_bytes()),
            Some(DockerLog::Other("local".to_owned()))
        );
        for (container, host) in [
            (&br#"{"LogPath":""}"#[..], driver("json-file")),
            (br#"{"LogPath":"relative"}"#, driver("json-file")),
            (br#"{"LogPath":"#, driver("json-file")),
            (container, "{}".to_owned()),
        ] {
            assert_eq!(parse(container, host.as_bytes()), None);
        }
    }
}
