//! How the C library looks up host names, and why it failed.

/// Has `getaddrinfo` look names up in `/etc/hosts` and by DNS, whatever `/etc/nsswitch.conf` says. To be called before the first thread
/// is started.
///
/// These two are part of glibc; every other service of `nsswitch.conf` (`resolve`, `mdns`, `sss`) is a shared library of the machine. A
/// static program loads it together with the machine's own C library, which need not have the version that it was built with, and
/// where that fails, a name that does not exist is reported as `Device or resource busy`. What is linked dynamically does the same, so
/// that a name means the same to every build, and to probes, which have a resolver of their own. musl has only these two. Does nothing
/// with another C library than glibc.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "a function of the C library that no safe wrapper offers")
)]
pub fn from_hosts_and_dns() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            /// `nss.h`. -1 and `errno` if the database is not known or the line not understood.
            fn __nss_configure_lookup(
                database: *const libc::c_char,
                line: *const libc::c_char,
            ) -> libc::c_int;
        }
        // SAFETY: both texts end with a zero byte, are only read during the call, and no other thread runs yet. If it is refused,
        // nsswitch.conf still holds.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    }
}

/// Whether this error of `ToSocketAddrs` may end by itself: a name server that does not answer or has failed, no route to it
/// (`EAI_AGAIN`), or no memory. A name that does not exist is not such an error. The standard library keeps only the text of
/// `gai_strerror(3)`, which is the same within a process that sets no locale.
#[expect(unsafe_code, reason = "a function of the C library that no safe wrapper offers")]
pub fn is_temporary(error: &std::io::Error) -> bool {
    let text = error.to_string();
    [libc::EAI_AGAIN, libc::EAI_MEMORY].into_iter().any(|code| {
        // SAFETY: it returns a text that ends with a zero byte and is never freed, for any code.
        let why = unsafe { std::ffi::CStr::from_ptr(libc::gai_strerror(code)) };
        why.to_str().is_ok_and(|why| text.ends_with(why))
    })
}
