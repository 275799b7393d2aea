//! The certificate authorities of the system, as OpenSSL finds them: by `SSL_CERT_FILE` and `SSL_CERT_DIR`, else where
//! distributions have them.

use super::pem::{MOST_BYTES, Pem, unusable};
use crate::sys::read_regular;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Most bytes of all files together; of one it is [`MOST_BYTES`].
const MOST_TOGETHER: u64 = 4 * MOST_BYTES;
/// Most names in a directory; distributions have some 300.
const MOST_NAMES: usize = 8192;
/// Most lines of the log, of one reading and of the process.
const MOST_LINES: usize = 16;

/// The authorities that could be read; none may be there. What could not be read is logged once, by name.
pub fn authorities() -> RootCertStore {
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let (file, directories) = authority_paths();
    let read = CertificateSet::of(file.as_deref(), &directories);
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    for why in read.failed {
        if logged.len() < MOST_LINES && logged.insert(why.clone()) {
            tracing::warn!(
                "certificate authorities of the system: {why}; who is signed by one that is only there is not trusted. \
                 Make it a readable PEM file, or name another with SSL_CERT_FILE or SSL_CERT_DIR"
            );
        }
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read.certificates.into_iter().map(CertificateDer::from));
    roots
}

/// Where [`authorities`] reads.
pub(super) fn paths() -> Vec<PathBuf> {
    let (file, directories) = authority_paths();
    file.into_iter().chain(directories).collect()
}

/// A bundle, and directories.
fn authority_paths() -> (Option<PathBuf>, Vec<PathBuf>) {
    let file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let directories = std::env::var_os("SSL_CERT_DIR");
    let directories = directories.iter().flat_map(std::env::split_paths);
    let directories: Vec<_> = directories.filter(|path| !path.as_os_str().is_empty()).collect();
    if file.is_some() || !directories.is_empty() {
        return (file, directories);
    }
    let found = openssl_probe::probe();
    (found.cert_file, found.cert_dir)
}

/// Certificates of several files, each read once, and what could not be read.
#[derive(Debug, Default)]
struct CertificateSet {
    certificates: BTreeSet<Vec<u8>>,
    failed: Vec<String>,
    /// Device and inode of what was read: a directory has several links to each file.
    seen: BTreeSet<(u64, u64)>,
    bytes: u64,
}

impl CertificateSet {
    fn of(file: Option<&Path>, directories: &[PathBuf]) -> Self {
        let mut reading = Self::default();
        if let Some(file) = file {
            let before = reading.failed.len();
            reading.file(file);
            if reading.certificates.is_empty() && reading.failed.len() == before {
                reading.fail(file, &"there is no certificate in it");
            }
        }
        for directory in directories {
            reading.directory(directory);
        }
        reading
    }

    fn fail(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        if self.failed.len() < MOST_LINES {
            self.failed.push(unusable(Pem::File(path), why));
        }
    }

    /// What is no file (a directory of keystores), and links to nothing, are skipped.
    fn directory(&mut self, directory: &Path) {
        let names = match std::fs::read_dir(directory) {
            Ok(names) => names,
            Err(error) => return self.fail(directory, &error),
        };
        for (number, name) in names.enumerate() {
            if number == MOST_NAMES {
                return self.fail(directory, &format!("it has more than {MOST_NAMES} names"));
            }
            match name {
                Ok(name) if name.path().is_file() => self.file(&name.path()),
                Ok(_) => {}
                Err(error) => return self.fail(directory, &error),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if let Ok(file) = std::fs::metadata(path)
            && !self.seen.insert((file.dev(), file.ino()))
        {
            return;
        }
        let text = match read_regular(path, MOST_BYTES.min(MOST_TOGETHER - self.bytes)) {
            Ok(text) => text,
            Err(error) => return self.fail(path, &error),
        };
        self.bytes += text.len() as u64;
        let mut wrong = None;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            match certificate {
                Ok(certificate) => {
                    self.certificates.insert(certificate.to_vec());
                }
                // Those after it are read all the same.
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        if let Some(error) = wrong {
            self.fail(path, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CertificateSet, MOST_BYTES};
    use std::path::Path;

    const CERTIFICATE: &str = include_str!("../../tests/fixtures/certificates/p-521.pem");

    #[test]
    fn what_cannot_be_read_is_named_and_neither_waited_for_nor_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
        std::fs::File::create(path("long")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        for (file, words) in [
            (Path::new("/dev/zero"), "not a regular file"),
            (&path("fifo"), "not a regular file"),
            (&path("missing"), "No such file"),
            (&path("long"), "more than"),
            (&path("empty"), "no certificate"),
        ] {
            let read = CertificateSet::of(Some(file), &[]);
            let [why] = &read.failed[..] else { panic!("{:?}", read.failed) };
            assert!(why.starts_with(file.to_str().unwrap()) && why.contains(words), "{why}");
            assert!(read.certificates.is_empty() && read.bytes <= MOST_BYTES);
        }
        let read = CertificateSet::of(None, &[path("missing")]);
        assert!(read.failed[0].contains("missing: No such file"), "{:?}", read.failed);
    }

    #[test]
    fn a_directory_gives_each_certificate_once_and_what_is_no_file_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.pem"), CERTIFICATE).unwrap();
        std::fs::write(path("copy.pem"), CERTIFICATE).unwrap();
        std::os::unix::fs::symlink(path("a.pem"), path("0123abcd.0")).unwrap();
        std::os::unix::fs::symlink(path("gone"), path("0123abcd.1")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("0123abcd.2")).unwrap();
        std::fs::create_dir(path("java")).unwrap();
        let read = CertificateSet::of(Some(&path("a.pem")), &[directory.path().to_owned()]);
        assert_eq!((read.certificates.len(), read.failed.len()), (1, 0), "{:?}", read.failed);
        assert_eq!(read.bytes, 2 * CERTIFICATE.len() as u64);
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        std::fs::write(path("a.pem"), format!("{broken}{CERTIFICATE}")).unwrap();
        let read = CertificateSet::of(Some(&path("a.pem")), &[]);
        assert_eq!((read.certificates.len(), read.failed.len()), (1, 1), "{:?}", read.failed);
    }
}
